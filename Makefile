# Every target sets up what it needs in .venv; only Python 3.11 or newer and a C++ compiler must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build
# The operators are compiled by pip; a change of theirs asks for it again.
NATIVE := $(shell find ops -name '*.cpp' -o -name '*.h' -o -name CMakeLists.txt)

.PHONY: demo test native sanitize check-full bench quality train schema lint clean

demo: $(VENV)/demo.done
	$(BIN)/lfm-edge demo $(BUILD)/demo

test: $(VENV)/test.done lint native
	$(BIN)/pytest -n 2

# The operators' own tests, without ONNX Runtime and with a fake of it.
native: $(VENV)/test.done
	$(BIN)/cmake -S ops -B $(BUILD)/native -DLFM_OPS_TESTS=ON
	$(BIN)/cmake --build $(BUILD)/native --parallel 2
	$(BIN)/ctest --test-dir $(BUILD)/native --output-on-failure

# The same under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer.
sanitize: $(VENV)/test.done
	for kind in address,undefined thread; do \
	    $(BIN)/cmake -S ops -B $(BUILD)/$$kind -DLFM_OPS_SANITIZE=$$kind && \
	    $(BIN)/cmake --build $(BUILD)/$$kind --parallel 2 && \
	    $(BIN)/ctest --test-dir $(BUILD)/$$kind --output-on-failure || exit 1; \
	done

# The 8B in full, long and large: minutes a piece, kept out of `make test`.
check-full: $(VENV)/test.done
	$(BIN)/pytest -n 0 -s checks

bench: $(VENV)/test.done
	$(BIN)/python benchmarks/peers.py --layers 8 --json $(BUILD)/peers.json --plot $(BUILD)/peers.png

quality: $(VENV)/test.done
	$(BIN)/python benchmarks/quality.py

train: $(VENV)/test.done
	$(BIN)/python -m tools.train_demo_model.train

schema: $(VENV)/demo.done
	$(BIN)/python tools/write_schema.py

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(filter-out %.txt,$(NATIVE))

$(VENV)/demo.done: pyproject.toml $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[export,bench]'
	touch $@

$(VENV)/test.done: pyproject.toml $(VENV)/demo.done
	$(BIN)/python -m pip install --quiet --editable '.[export,bench,test]'
	touch $@

clean:
	rm -rf $(VENV) $(BUILD)
