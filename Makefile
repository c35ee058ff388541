# make setup      environment in .venv, messages built; a second run does nothing
# make test       everything continuous integration checks
# make finetune   ARGS="task=lift session.seed=1"   or   RESUME=sessions/<name>
# make demonstrate, pretrain, collect, deploy       ARGS as in `tmrl pretrain --help` and so on
# make vla        what vision-language-action models need, on top (docs/vla_models.md)
# make bench       figures of docs/benchmarks.md that need no session, below 20 minutes
# make lint, make clean

SHELL := /bin/sh
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
STAMPS := $(VENV)/.stamps
ARGS ?=
RESUME ?=
PIP_ARGS ?=

.NOTPARALLEL:

MESSAGE_PACKAGES := $(patsubst %/pyproject.toml,%,$(wildcard tmrl_msgs/pyproject.toml tmrl_msgs_tf2/pyproject.toml))
# Files that `ros2 launch tmrl_ros ...` looks for in the environment.
SHARED := package.xml config urdf bundles
LAUNCH_FILES := $(wildcard launch/*.launch.py)
LIST_NODES := from importlib.metadata import distribution; print(*(e.name for e in distribution("tmrl_ros").entry_points if ".nodes." in e.value))

# Variables of a sourced ROS, or of the environment this was started from, must not reach this one's Python.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH AMENT_PREFIX_PATH PYTHONPATH

.PHONY: setup vla test lint finetune demonstrate pretrain collect deploy bench clean
.DEFAULT_GOAL := setup

setup: $(STAMPS)/package
	@:

$(STAMPS)/python:
	@command -v $(PYTHON) >/dev/null 2>&1 && $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python 3.11 with venv is missing: install python3.11, python3.11-venv and python3.11-dev, or name it with PYTHON=/path/to/python3.11." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "$(PYTHON) is not Python 3.11, for which the messages are built: name another with PYTHON=/path/to/python3.11." >&2; exit 1; }
	@command -v c++ >/dev/null 2>&1 || { \
	  echo "A C++ compiler is missing, which builds the messages: install build-essential (or gcc and g++)." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/requirements: requirements.txt | $(STAMPS)/python
	@echo "Installing the libraries of requirements.txt ..."
	@$(PIP) install $(PIP_ARGS) -r requirements.txt
	@touch $@

# LeRobot says Python 3.12; the files with its models, which are all that is imported, run on 3.11.
$(STAMPS)/vla: requirements-vla.txt | $(STAMPS)/package
	@echo "Installing the libraries of requirements-vla.txt ..."
	@$(PIP) install $(PIP_ARGS) --no-deps --ignore-requires-python -r requirements-vla.txt
	@touch $@

vla: $(STAMPS)/vla
	@:

define message_package
$(STAMPS)/$(1): $(STAMPS)/requirements $(wildcard $(1)/*.* $(1)/msg/*.msg $(1)/srv/*.srv $(1)/action/*.action)
	@echo "Building $(1) (a minute or two) ..."
	@$(PIP) install $(PIP_ARGS) --force-reinstall --no-deps ./$(1)
	@touch $$@
endef
$(foreach package,$(MESSAGE_PACKAGES),$(eval $(call message_package,$(package))))

# The package itself runs from the checkout. pip leaves launch files and configuration out of such an
# installation, so the places where ros2 looks point at the checkout as well (ros2 launch does not look
# into folders that are links).
$(STAMPS)/package: setup.py pyproject.toml package.xml $(LAUNCH_FILES) $(addprefix $(STAMPS)/,$(MESSAGE_PACKAGES))
	@$(PIP) install $(PIP_ARGS) --no-deps --no-build-isolation --editable .
	@rm -rf $(VENV)/share/tmrl_ros && mkdir -p $(VENV)/share/tmrl_ros/launch $(VENV)/share/ament_index/resource_index/packages $(VENV)/lib/tmrl_ros
	@cp resource/tmrl_ros $(VENV)/share/ament_index/resource_index/packages/tmrl_ros
	@for item in $(SHARED); do ln -sfn ../../../$$item $(VENV)/share/tmrl_ros/$$item; done
	@for file in $(LAUNCH_FILES); do ln -sfn ../../../../$$file $(VENV)/share/tmrl_ros/$$file; done
	@for node in $$($(BIN)/python -c '$(LIST_NODES)'); do ln -sfn ../../bin/$$node $(VENV)/lib/tmrl_ros/$$node; done
	@$(MAKE) --no-print-directory --silent graphics
	@touch $@

# Rendering works without OpenGL, only slower; so this never fails.
.PHONY: graphics
graphics:
	@if $(BIN)/python -c 'import ctypes.util as c, sys; sys.exit(not (c.find_library("EGL") or c.find_library("OSMesa")))'; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
	  { timeout 120 apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri || \
	    { timeout 120 apt-get update && timeout 120 apt-get install -y --no-install-recommends libegl1 libgl1-mesa-dri; }; } >/dev/null 2>&1; then \
	  echo "Installed libegl1 and libgl1-mesa-dri, with which the simulated cameras are fast."; \
	else \
	  echo "Neither libEGL nor libOSMesa is installed: the simulated cameras work, but slowly; install libegl1 and libgl1-mesa-dri to speed them up."; \
	fi

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted: run $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy

# Interfaces of a Franka's own packages, as far as the tests speak them. They stay out of the environment:
# on a robot the real ones must be found.
DOUBLES := test/doubles/interfaces
$(STAMPS)/doubles: $(STAMPS)/requirements $(wildcard $(DOUBLES)/*.* $(DOUBLES)/*/*.* $(DOUBLES)/*/*/*.*)
	@echo "Building the interfaces of the robot's test doubles (a minute or two) ..."
	@rm -rf $(VENV)/doubles
	@$(PIP) install $(PIP_ARGS) --force-reinstall --no-deps --prefix $(VENV)/doubles ./$(DOUBLES)
	@touch $@

test: lint $(STAMPS)/doubles $(STAMPS)/vla
	@$(BIN)/python -m pytest -q --durations=25

finetune: setup
	@exec $(BIN)/tmrl finetune $(if $(RESUME),--resume "$(RESUME)") $(ARGS)

# Demonstrations that were recorded are not recorded again (sessions/demonstrations/<task>). Options are
# for the training alone, and with --demonstrations it has its own.
pretrain: setup
	@set -- $(ARGS); for word do shift; case "$$word" in \
	  --demonstrations*) exit 0;; -*) ;; *=*) set -- "$$@" "$$word";; esac; done; \
	exec $(BIN)/tmrl demonstrate "$$@"
	@exec $(BIN)/tmrl pretrain $(ARGS)

demonstrate: setup
	@exec $(BIN)/tmrl demonstrate $(ARGS)

collect: setup
	@exec $(BIN)/tmrl collect $(ARGS)

deploy: setup
	@exec $(BIN)/tmrl deploy $(ARGS)

bench: setup
	@$(BIN)/python benchmarks/suite.py $(ARGS)

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
