#!/usr/bin/env bash
# Propose what `aistart update` brings: as a pull request, or as an issue where it has conflicts.
# Both are opened once and then kept up to date. Needs a clean checkout, aistart, git, and gh with
# GH_TOKEN. Words of AISTART_OPTIONS go to `aistart update`: --trust for a template of your own.
set -euo pipefail

BRANCH=aistart-update
TITLE="Update from the template"
EMAIL=aistart@localhost
read -ra OPTIONS <<<"${AISTART_OPTIONS:-}"
BODY=$(mktemp)
trap 'rm -f "$BODY"' EXIT

# The text of a pull request or issue: a sentence, and what aistart printed, indented as code.
write_body() {
    printf '%s\n\n' "$1" >"$BODY"
    # GitHub takes 65,536 characters.
    printf '%s\n' "$2" | head -c 50000 | sed 's/^/    /' >>"$BODY"
}

# Whether the branch on the server holds a commit that this script did not make.
is_edited() {
    git fetch --quiet --depth 1 origin "$BRANCH" 2>/dev/null || return 1
    [ "$(git log -1 --format=%ae FETCH_HEAD)" != "$EMAIL" ]
}

open_pull_request() {
    gh auth setup-git
    if is_edited; then
        echo "The branch $BRANCH has commits of others and stays as it is: merge or delete it."
        return
    fi
    git switch --quiet --force-create "$BRANCH"
    git add --all
    git -c user.name=aistart -c "user.email=$EMAIL" commit --quiet --no-verify --message "$TITLE"
    git push --quiet --force origin "$BRANCH"
    if [ -n "$(gh pr list --head "$BRANCH" --state open --json number --jq '.[].number')" ]; then
        gh pr edit "$BRANCH" --body-file "$BODY"
    else
        gh pr create --head "$BRANCH" --title "$TITLE" --body-file "$BODY"
    fi
}

open_issue() {
    local title="$TITLE: conflicts" number
    number=$(gh issue list --state open --limit 1000 --json number,title \
        --jq ".[] | select(.title == \"$title\") | .number" | head -n 1)
    if [ -n "$number" ]; then
        gh issue edit "$number" --body-file "$BODY"
    else
        gh issue create --title "$title" --body-file "$BODY"
    fi
}

if aistart update --check "${OPTIONS[@]}"; then
    exit 0
fi
code=0
output=$(aistart update "${OPTIONS[@]}" 2>&1) || code=$?
printf '%s\n' "$output"
if [ "$code" -eq 0 ]; then
    write_body "Merged with this project by \`aistart update\`:" "$output"
    open_pull_request
elif [ -e .aistart/update/current ]; then # it waits for decisions
    aistart update --abort
    write_body "\`aistart update\` needs somebody to resolve conflicts, on a branch; then
\`aistart update --continue\`. It says:" "$output"
    open_issue
else
    exit "$code"
fi
