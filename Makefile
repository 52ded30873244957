# `make demo` shows the whole thing, `make test` checks it. Both set up .venv first where it is missing, out of date, or
# where the last set-up was interrupted.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow lint benchmark benchmark-students clean

demo: .venv/ready
	$(BIN)/python automm_distillation_glue.py --demo

test: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist worksteal

test-slow: .venv/ready-dev
	$(BIN)/python -m pytest -m slow

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make benchmark DATA=data/glue TEACHER=... STUDENT=...   rows of GLUE and, in DATA/../paws-x, of PAWS-X; two checkpoints
# of one family. Takes hours; nothing else should run.
SPEED = $(BIN)/python -m benchmarks.distillation_speed --dataset_path $(DATA)
PAIR = --teacher_model $(TEACHER) --student_model $(STUDENT)
RESULTS = benchmarks/results
PRECISION = --rounds 3 --variants plain plain_32 --scores --batch_size 32 --learning_rate 2e-4
benchmark: .venv/ready
	$(SPEED) $(PAIR) --rounds 1 --variants stock stock_ours cold warm plain plain_torch plain_32 plain_stock bare \
		--json $(RESULTS)/distillation_speed.json
	$(SPEED) $(PAIR) --rounds 3 --variants warm plain bare --rows 10000 --epochs 1 --json $(RESULTS)/limit.json
	$(SPEED) $(PAIR) $(PRECISION) --json $(RESULTS)/precision_qnli.json
	$(SPEED) $(PAIR) $(PRECISION) --task stsb --rows 4000 --json $(RESULTS)/precision_stsb.json
	$(BIN)/python -m benchmarks.sweep_cost --dataset_path $(DATA) $(PAIR) --json $(RESULTS)/sweep_cost.json
	$(BIN)/python -m benchmarks.scale --dataset_path $(DATA)/.. --json $(RESULTS)/scale.json
	$(SPEED) --wide --rounds 1 --rows 192 --validation_rows 32 --per_gpu_batch_size 8 \
		--variants stock cold warm plain --json $(RESULTS)/wide_pair.json
	$(SPEED) $(PAIR) --rounds 1 --variants cold plain --rows 500 --growth 1 4 16 --epochs 1 \
		--json $(RESULTS)/growth.json
	$(SPEED) $(PAIR) --rounds 3 --variants warm plain --all_losses --json $(RESULTS)/all_losses.json
	$(SPEED) $(PAIR) --rounds 3 --variants stock warm warm_half --scores --json $(RESULTS)/scores.json

# make benchmark-students DATA=data ENGLISH=... MULTILINGUAL=...   the scores of students, and of what is shipped; DATA has
# glue/ and paws-x/. A day on two cores: it goes on where it was stopped, keep SCRATCH for that.
SCRATCH ?= scratch
STUDENTS = --dataset_path $(DATA) --english $(ENGLISH) --multilingual $(MULTILINGUAL)
benchmark-students: .venv/ready
	$(BIN)/python -m benchmarks.student_scores $(STUDENTS) --scratch $(SCRATCH) --ways strong
	$(BIN)/python -m benchmarks.seed_tables $(STUDENTS) --scratch $(SCRATCH)
	$(BIN)/python -m benchmarks.stsb_terms --dataset_path $(DATA)/glue --english $(ENGLISH) --scratch $(SCRATCH)
	$(BIN)/python -m benchmarks.shipping $(STUDENTS) --scratch $(SCRATCH)

# "ready" is touched last, so that a set-up that failed or was interrupted is taken up again.
.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, " \
		"this is " + sys.version.split()[0] + ": try  make PYTHON=python3.12 ...")'
	@echo "Setting up .venv: several GB, minutes at the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	@touch $@

.venv/ready-dev: requirements-dev.txt .venv/ready
	$(BIN)/python -m pip install -r requirements-dev.txt
	@touch $@

# Models (cache) and results stay: they may be hours of work.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
