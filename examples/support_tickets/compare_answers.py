"""Compare what the service has answered with what ``predict`` says, and print both.

    python compare_answers.py QUESTIONS ANSWERS PREDICTIONS

Exits with 1 if a prediction differs, or a score by more than 1e-4.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    questions, answers = (json.loads(Path(name).read_text("utf-8")) for name in sys.argv[1:3])
    predictions = [json.loads(line) for line in Path(sys.argv[3]).read_text("utf-8").splitlines()]
    furthest = 0.0
    for question, answer, row in zip(questions, answers, predictions, strict=True):
        if answer["prediction"] != row["prediction"]:
            sys.exit(f"The service says {answer['prediction']}, predict says {row['prediction']}.")
        gaps = [abs(answer["scores"][name] - score) for name, score in row["scores"].items()]
        furthest = max(furthest, *gaps)
        score = answer["scores"][answer["prediction"]]
        print(f"{answer['prediction']:<9} {score:.3f}  {question['text']}")
    if furthest > 1e-4:
        sys.exit(f"A score differs by {furthest:.1e}.")
    print("predict says the same, with scores equal to 1e-4")


if __name__ == "__main__":
    main()
