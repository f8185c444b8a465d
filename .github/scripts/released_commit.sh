#!/usr/bin/env bash
# The commit of a release: released_commit.sh release-41 prints "commit=SHA". Exit code 2 for what promote.yml did not tag.
set -euo pipefail

if ! [[ "${1:-}" =~ ^release-[0-9]+$ ]]; then
  echo "not the tag of a release, such as release-41: ${1:-}" >&2
  exit 2
fi
if ! commit=$(git rev-parse --verify --quiet "refs/tags/$1^{commit}"); then
  echo "no such tag: $1. There are: $(git tag --list 'release-*' --sort=-creatordate | head -5 | paste -sd ' ')" >&2
  exit 2
fi
# Who may push a tag must not thereby deploy what nobody has reviewed.
if ! git merge-base --is-ancestor "$commit" origin/main; then
  echo "$1 was never on main" >&2
  exit 2
fi
echo "commit=$commit"
