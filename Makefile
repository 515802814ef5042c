# A thin front over CMake.
BUILD ?= build
JOBS ?= $(shell nproc)
CONFIGURE = cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release

.PHONY: all deps build demo test test-slow bench asan nano-train nano-eval format clean

all: build

deps:
	@.ci/install-packages

build: deps
	@$(CONFIGURE) -DLARES_TESTS=OFF >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS)

# Installs what it needs, builds, starts the daemon, and the agent repairs a failing test in a small repository.
demo: build
	@tests/e2e/demo.sh $(BUILD)/bin

# Installs what it needs, builds, runs all tests but the slow ones.
test: deps
	@$(CONFIGURE) -DLARES_TESTS=ON
	@ninja -C $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -LE 'slow|gpu'
	@tests/skips.sh $(BUILD)

# The minutes-long ones: fuzzing, generated checkpoints against the NumPy reference.
test-slow: deps
	@$(CONFIGURE) -DLARES_TESTS=ON
	@ninja -C $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j 1 -L slow

asan: deps
	@cmake -S . -B $(BUILD)-asan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O1 -g1' -DLARES_SANITIZE=ON
	@ninja -C $(BUILD)-asan -j $(JOBS)
	@ctest --test-dir $(BUILD)-asan --output-on-failure -j $(JOBS) -LE 'slow|gpu'

# Kernels, decode and prefill of the full shape with generated weights beside the machine's ceilings: one table. BENCH="kernels
# --seconds 2" measures less, or longer.
BENCH ?= all
bench: build
	@$(BUILD)/bin/lares bench $(BENCH)

# Trains nano, the small model that comes with Lares: hours on two cores. Needs python3-torch.
nano-train:
	@engine/nano/train.sh

# 200 failing tests in repositories that training never saw, repaired through the real daemon, tools and sandbox.
nano-eval: build
	@python3 engine/nano/eval.py --bin $(BUILD)/bin --tasks 200 --floor 60

format:
	@git ls-files '*.cc' '*.h' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	@rm -rf $(BUILD) $(BUILD)-asan $(BUILD).log
