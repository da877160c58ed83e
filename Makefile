# Every target sets up what it needs in .venv; only Python 3.11 or newer and a C++ compiler must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build
# The operators are compiled by pip; a change of theirs asks for it again.
NATIVE := $(shell find ops -name '*.cpp' -o -name '*.h' -o -name CMakeLists.txt)
CPP := $(shell find ops core android_demo -name '*.cpp' -o -name '*.h' 2>/dev/null)

# For ARM: Debian's packages g++-aarch64-linux-gnu, qemu-user and, for the estimate, llvm-19. The
# CPUs have 8-bit matrix products, dot products only, and neither.
ARM := $(BUILD)/aarch64
ARM_CPUS := max cortex-a76 cortex-a72
ARM_TOOLS := command -v aarch64-linux-gnu-g++ && command -v qemu-aarch64
# Debian's package clang; with ARM's tools, for ARM as well.
CLANG := $(BUILD)/clang
# Another Clang, which PyPI has: for other systems, and for older C libraries.
ZIG := PATH="$$($(BIN)/python -c 'import ziglang; print(*ziglang.__path__)'):$$PATH"
ELSEWHERE := aarch64-macos x86_64-windows-gnu

COMMA := ,

.PHONY: demo test core test-core test-ray arm arm-built arm-if-there clang clang-arm clang-arm-library clang-if-there elsewhere \
    test-android android-if-there wheels sanitize check-full fuzz fuzz-core bench quality quality-other train train-other tokenizer schema api check-checkpoints lint clean

demo: $(VENV)/demo.done
	$(BIN)/lfm-edge demo $(BUILD)/demo

test: $(VENV)/test.done lint test-core arm-if-there clang-if-there elsewhere android-if-there
	$(BIN)/pytest -n 2

# $(call build-native,FOLDER,OPTIONS): the device core and the operators, with the tests of both.
define build-native
	$(BIN)/cmake -S core -B $(1) $(2)
	$(BIN)/cmake --build $(1) --parallel 2
endef

define native-tests
	$(call build-native,$(1),$(2))
	$(BIN)/ctest --test-dir $(1) --output-on-failure
endef

# $(call arm-tests,FOLDER,CPUS,OPTIONS): the same on emulated ARM CPUs; the core, which has no kernels
# of its own, on the first of all.
define arm-tests
	$(call build-native,$(1),-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/ops/toolchains/aarch64.cmake $(3))
	for cpu in $(2); do \
	    tests=$$(test $$cpu = $(firstword $(ARM_CPUS)) && echo $(1) || echo $(1)/ops); \
	    echo "ARM, $$cpu:"; \
	    QEMU_CPU=$$cpu $(BIN)/ctest --test-dir $$tests --parallel 2 --output-on-failure || exit 1; \
	done
endef

# build/core/liblfm_core.so, what phone apps share; and lfm_bench.
core: $(VENV)/test.done
	$(call build-native,$(BUILD)/core)

test-core: $(VENV)/test.done
	$(call native-tests,$(BUILD)/core)

# An evaluation on a local cluster of two workers, which takes minutes and 240 MB of packages.
test-ray: $(VENV)/ray.done
	$(BIN)/pytest -n 0 tests/cluster

# The operators on emulated ARM CPUs: their own tests, then sessions of a real ONNX Runtime; and
# what their inner loops may reach.
arm: arm-built $(ARM)/onnxruntime.done
	$(BIN)/pytest -n 0 tests/ops/test_run_graph.py
	$(BIN)/python ops/tests/estimate.py arm

arm-built: $(VENV)/test.done
	$(call arm-tests,$(ARM),$(ARM_CPUS))

clang: $(VENV)/test.done
	$(call native-tests,$(CLANG)/core,-DCMAKE_CXX_COMPILER=clang++)

# One CPU that has every instruction set: what another takes is chosen by the same code. `make test`
# has of it the library alone, whose sessions are held to the bits of GCC's.
clang-arm: $(VENV)/test.done
	$(call arm-tests,$(CLANG)/aarch64,$(firstword $(ARM_CPUS)),-DCMAKE_CXX_COMPILER=clang++)

clang-arm-library: $(VENV)/test.done
	$(BIN)/cmake -S core -B $(CLANG)/aarch64 -DCMAKE_CXX_COMPILER=clang++ \
	    -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/ops/toolchains/aarch64.cmake
	$(BIN)/cmake --build $(CLANG)/aarch64 --parallel 2 --target lfm_ops

# What Kotlin needs: Debian's packages maven and openjdk-17-jdk-headless; the app's screens, aapt too.
MAVEN := mvn --batch-mode --quiet -f android_demo/pom.xml
ANDROID_TOOLS := command -v mvn && command -v javac

# The library of Python's package: Maven has no ONNX Runtime that is as new, which onnx-portable needs.
ONNXRUNTIME := $(BIN)/python -c 'import glob, onnxruntime; \
    print(*glob.glob(onnxruntime.__path__[0] + "/capi/libonnxruntime.so*"))'

# The Kotlin library and the demo app on a JVM, against the core as it is built here.
test-android: core
	$(BIN)/cmake -S android_demo/lfm-android/src/main/cpp -B $(BUILD)/lfm-android \
	    -DLFM_CORE_BUILT=$(CURDIR)/$(BUILD)/core
	$(BIN)/cmake --build $(BUILD)/lfm-android --parallel 2
	$(BIN)/python -m tests.android.made $(BUILD)/android-bundles
	$(MAVEN) verify
	$(MAVEN) -pl lfm-android surefire:test -Dtest=ModelTest -Dlfm.onnxruntime=$$($(ONNXRUNTIME))
	$(BIN)/pytest -n 0 tests/android

android-if-there: $(VENV)/test.done
	@if $(ANDROID_TOOLS); then \
	    $(MAKE) test-android; \
	else \
	    echo '*** SKIPPED: Kotlin and Android (no mvn or no javac here) ***' >&2; \
	fi

# The operators compiled, not linked, for systems whose programs cannot run here.
elsewhere: $(VENV)/test.done
	for target in $(ELSEWHERE); do \
	    $(ZIG) $(BIN)/cmake -S ops -B $(BUILD)/zig/$$target -DLFM_OPS_TESTS=OFF \
	        -DCMAKE_TOOLCHAIN_FILE=toolchains/zig.cmake -DLFM_ZIG_TARGET=$$target && \
	    $(BIN)/cmake --build $(BUILD)/zig/$$target --parallel 2 --target lfm_ort || exit 1; \
	done

# What can be installed without a compiler, for Linux on both CPUs; then what is in them is run.
wheels: core
	rm -rf dist
	for cpu in x86_64 aarch64; do \
	    $(ZIG) $(BIN)/python -m pip wheel . --quiet --no-deps --wheel-dir dist \
	        -C wheel.tags=py3-none-manylinux_2_28_$$cpu \
	        -C build-dir=$(BUILD)/zig/$$cpu-linux-gnu.2.28 \
	        -C cmake.define.CMAKE_TOOLCHAIN_FILE=toolchains/zig.cmake \
	        -C cmake.define.LFM_ZIG_TARGET=$$cpu-linux-gnu.2.28 || exit 1; \
	done
	$(BIN)/pytest -n 0 tests/test_wheels.py tests/ops/test_run_graph.py -k wheel

# ONNX Runtime for ARM, and what the emulator shows as the system: the host's /proc/cpuinfo, of
# another architecture, would crash it.
$(ARM)/onnxruntime.done: pyproject.toml $(VENV)/test.done
	rm -rf $(ARM)/onnxruntime*
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
	    --platform manylinux_2_28_aarch64 --dest $(ARM) \
	    onnxruntime==$$($(BIN)/python -c 'import onnxruntime; print(onnxruntime.__version__)')
	$(BIN)/python -m zipfile -e $(ARM)/onnxruntime-*.whl $(ARM)
	mkdir -p $(ARM)/sysroot/proc
	ln -sfn /usr/aarch64-linux-gnu/lib $(ARM)/sysroot/lib
	printf 'processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0b\n\n' \
	    > $(ARM)/sysroot/proc/cpuinfo
	touch $@

# As much of it as `make test` can have here; what is left out is said.
arm-if-there: $(VENV)/test.done
	@if $(ARM_TOOLS); then \
	    $(MAKE) arm-built && { $(MAKE) $(ARM)/onnxruntime.done || \
	    echo '*** SKIPPED on ARM: sessions of ONNX Runtime (its wheel cannot be had) ***' >&2; }; \
	else \
	    echo '*** SKIPPED: ARM (no aarch64-linux-gnu-g++ or no qemu-aarch64 here) ***' >&2; \
	fi

clang-if-there: $(VENV)/test.done
	@if ! command -v clang++; then \
	    echo '*** SKIPPED: Clang (no clang++ here) ***' >&2; \
	elif $(ARM_TOOLS); then \
	    $(MAKE) clang clang-arm-library; \
	else \
	    $(MAKE) clang && echo '*** SKIPPED: Clang for ARM (its tools are not here) ***' >&2; \
	fi

# The native tests under AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer.
sanitize: $(VENV)/test.done
	for kind in address,undefined thread; do \
	    folder=$(BUILD)/$${kind%,*}; \
	    $(BIN)/cmake -S core -B $$folder -DLFM_OPS_SANITIZE=$$kind && \
	    $(BIN)/cmake --build $$folder --parallel 2 && \
	    $(BIN)/ctest --test-dir $$folder --output-on-failure || exit 1; \
	done

# The 8B in full, long and large: minutes a piece, kept out of `make test`.
check-full: $(VENV)/test.done
	$(BIN)/pytest -n 0 -s checks

# The reading of what models write, against whatever might break it.
fuzz: $(VENV)/test.done
	$(BIN)/python checks/fuzz_tool_calls.py --minutes 10

# What the device core reads of bundles, saved sessions, models and callers, damaged, under sanitizers:
# ten minutes each.
fuzz-core: demo
	$(call build-native,$(BUILD)/address,-DLFM_OPS_SANITIZE=address$(COMMA)undefined)
	$(BUILD)/address/fuzz_answers tests/vectors 600
	$(BUILD)/address/fuzz_device tests/vectors/device.bin 600
	$(BUILD)/address/fuzz_engine $$($(ONNXRUNTIME)) $(BUILD)/demo/bundle 1200

# 20,000 random checkpoints beside transformers, of which `make test` draws 500, an hour or two; then
# each fault that they once found, put back to see it found again.
check-checkpoints: $(VENV)/test.done
	LFM_CHECKPOINT_PARTS=40 $(BIN)/pytest -n 2 tests/random_checkpoints
	$(BIN)/pytest -n 2 checks/test_undone_fixes.py

# Compiles llama.cpp for this CPU, which takes ten minutes, and keeps every engine's export.
bench: $(VENV)/peers.done
	$(BIN)/python benchmarks/peers.py --layers 8 --json $(BUILD)/peers.json --plot $(BUILD)/peers.png

# LLAMA_CPP=FOLDER: of llama-quantize and llama-imatrix, where they are not on PATH.
QUALITY := $(BIN)/python benchmarks/quality.py $(addprefix --llama-cpp ,$(LLAMA_CPP))

quality: $(VENV)/test.done
	$(QUALITY)

# Of the model that train-other makes.
quality-other: $(VENV)/test.done
	$(QUALITY) --model $(BUILD)/other_model

train: $(VENV)/test.done
	$(BIN)/python -m tools.train_demo_model.train

# A second model, on other text and from another seed, to measure what is tuned on neither.
train-other: $(VENV)/test.done
	$(BIN)/python -m tools.train_demo_model.train --settings tools/train_demo_model/other.json \
	    --out $(BUILD)/other_model --work $(BUILD)/train_other

# As large as the 8B's, for `lfm-edge export synthetic:... --tokenizer build/tokenizer`; minutes.
tokenizer: $(VENV)/test.done
	$(BIN)/python -m tools.train_tokenizer $(BUILD)/tokenizer

schema: $(VENV)/demo.done
	$(BIN)/python tools/write_schema.py

api: $(VENV)/test.done
	$(BIN)/python -m tools.write_api_reference

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CPP)

$(VENV)/demo.done: pyproject.toml $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[export,bench,coreml]' || \
	    $(BIN)/python -m pip install --quiet --editable '.[export,bench]' # coremltools: not everywhere
	touch $@

$(VENV)/test.done: pyproject.toml $(VENV)/demo.done
	$(BIN)/python -m pip install --quiet --editable '.[export,bench,coreml,test]'
	touch $@

$(VENV)/ray.done: pyproject.toml $(VENV)/test.done
	$(BIN)/python -m pip install --quiet --editable '.[export,test,ray]'
	touch $@

$(VENV)/peers.done: pyproject.toml $(VENV)/test.done
	CMAKE_ARGS=-DLLAVA_BUILD=OFF \
	    $(BIN)/python -m pip install --quiet --editable '.[export,bench,test,peers]'
	touch $@

clean:
	rm -rf $(VENV) $(BUILD) dist
