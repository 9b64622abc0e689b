# Both targets set up what they need in .venv: a machine with Python 3.11 and make will do.
# (On Python 3.12 and newer the same commands install the newer dependency line.)
PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check
PYTEST_FLAGS ?= -q -n 2 --dist worksteal
DEMO ?= runs
DEMO_FLAGS ?=
BUILDIFIER ?= @bazel/buildifier@8.2.1
PACKAGES = benchmarks data_pipelines drsl_tf gin_configs tests

OLD_LINE = constraints/tensorflow-2.15.txt
NEW_LINE = constraints/tensorflow-2.21.txt
LINE = $(shell $(PYTHON) -c 'import sys; print("$(OLD_LINE)" if sys.version_info < (3, 12) else "$(NEW_LINE)")')

REDUCED = runs/benchmark/reduced

.PHONY: demo reduced-benchmarks test test-next lint types build-files wheel

# Source only, then the target's batch statistics; DRSL; and the three side by side.
demo: .venv/installed
	.venv/bin/python -m drsl_tf.train --gin_file=gin_configs/demo_statistics.gin --run_dir=$(DEMO)/demo_statistics $(DEMO_FLAGS)
	.venv/bin/python -m drsl_tf.train --gin_file=gin_configs/demo.gin --run_dir=$(DEMO)/demo $(DEMO_FLAGS)
	.venv/bin/python -m drsl_tf.report $(DEMO)/demo_statistics $(DEMO)/demo --output=$(DEMO)/demo/report.html --figure=$(DEMO)/demo/comparison.png

test: .venv/installed
	.venv/bin/python -m pytest $(PYTEST_FLAGS)

# The newer dependency line on the same Python: its packages first, then the project alone.
test-next: .venv-next/installed
	.venv-next/bin/python -m pytest $(PYTEST_FLAGS)

lint: .venv/installed
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/lint-imports

types: .venv/installed
	.venv/bin/python -m mypy

# Both benchmarks at a size that shows that they run, and nothing else.
reduced-benchmarks: .venv/installed
	.venv/bin/python -m benchmarks.adaptation --setup=streets --seeds=1 --steps_scale=0.01 \
		--arms=drsl --gin_param='WEIGHTS = None' \
		--gin_param='camera/rendered.rendered_root.root = "data/streets/camera"' \
		--gin_param='camera/rendered.rendered_root.val_count = 60' \
		--output=$(REDUCED) --work=$(REDUCED)
	.venv/bin/python -m benchmarks.speed --quick --output=$(REDUCED) --work=$(REDUCED)

# Bazel's BUILD files: formatted and linted by buildifier, where npm can fetch it.
build-files:
	npx --yes $(BUILDIFIER) -mode=check -lint=warn -r BUILD $(PACKAGES)

wheel: .venv/installed
	.venv/bin/python -m build --outdir dist

.venv/installed: pyproject.toml $(OLD_LINE) $(NEW_LINE)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIP_FLAGS) --constraint $(LINE) --editable '.[dev,weights]'
	touch $@

.venv-next/installed: pyproject.toml $(NEW_LINE)
	$(PYTHON) -m venv .venv-next
	.venv-next/bin/python -m pip install $(PIP_FLAGS) --requirement $(NEW_LINE)
	.venv-next/bin/python -m pip install $(PIP_FLAGS) --no-deps --editable .
	touch $@
