"""Write the part of the model card on limits, with the external validation in numbers.

    python write_limits.py SITE_B FILE

``SITE_B`` is what ``evaluate`` has printed for the other site.
"""

import argparse
from pathlib import Path

TEXT = """\
**External validation at site B**, on all its patients, with no change to the model: AUROC
{auroc:.3f} (95 % interval {auroc_low:.3f} to {auroc_high:.3f}), calibration slope
{calibration_slope:.2f}, calibration intercept {calibration_intercept:.2f}, expected calibration
error {ece:.3f}, Brier score {brier:.3f}. {verdict}

Known differences of site B: older patients, another method for creatinine (20 % higher), CRP
ordered less often. Not known: other hospitals, children, later years.
"""
TOO_LOW = (
    "Its risks are too low there, where {prevalence:.1%} of the patients came back. It may order "
    "patients of site B, but its risks must not be read as such before it is updated there."
)
FITS = "Its risks fit there within 0.2 in log-odds."
TOLERANCE = 0.2  # of the calibration intercept, in log-odds


def parse_metrics(text: str) -> dict[str, float]:
    """Return the metrics that ``evaluate`` has printed, one a line."""
    words = [line.split() for line in text.splitlines() if line.startswith("test/")]
    return {name.removeprefix("test/"): float(value) for name, value in words}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site_b", type=Path)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    metrics = parse_metrics(options.site_b.read_text("utf-8"))
    verdict = TOO_LOW if metrics["calibration_intercept"] > TOLERANCE else FITS
    text = TEXT.format(verdict=verdict.format(**metrics), **metrics)
    options.file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
