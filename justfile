# Two commands. `just` alone lists them.

_list:
    @just --list

# Everything that CI checks; changes no tracked file.
verify:
    .ci/run

# Formats, and applies what clippy can.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
