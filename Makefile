# A thin front over CMake.
BUILD ?= build
JOBS ?= $(shell nproc)
CONFIGURE = cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release

.PHONY: all deps build demo test test-slow fuzz test-clients test-kernel bench bench-residency bench-sandbox bench-snapshots bench-git bench-sessions bench-http bench-text bench-peer asan tsan racecheck soak nano-train nano-eval format clean

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

# Damaged checkpoints, answers, requests and frames, a minute each: never a crash, never half a meaning.
fuzz: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -L fuzz

# Other people's clients and servers against the daemon, from npm: each completes a turn in which its own tool writes a file; then with
# answers that fail, are cut or lack events, which tables show last. CLIENTS names one of tests/clients/*_test.py without its ending.
CLIENTS ?=
test-clients: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares laresd lares-sandbox lares_scripted_daemon lares_mcp_conformance_server lares_mcp_conformance_client
	@tests/clients/run.sh $(BUILD) $(CLIENTS)

# The sandbox's tests on Debian's own kernel, in an emulator: some ten minutes.
test-kernel: deps
	@.ci/install-packages busybox-static cpio kmod qemu-system-x86
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares-sandbox $$(cd tests/sandbox && ls *_test.cc | sed 's/^/sandbox_/; s/\.cc$$//')
	@tests/sandbox/other_kernel.sh $(BUILD)

# What the sanitizers see, in programs that tests start and forget too, is shown at the end and fails it (tests/sanitized.sh).
asan: deps
	@cmake -S . -B $(BUILD)-asan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O1 -g1' -DLARES_CUDA=OFF -DLARES_SANITIZE=ON
	@ninja -C $(BUILD)-asan -j $(JOBS)
	@tests/sanitized.sh $(BUILD)-asan ctest --test-dir $(BUILD)-asan --output-on-failure -j $(JOBS) -LE 'slow|gpu'
	@tests/skips.sh $(BUILD)-asan

# Threads under ThreadSanitizer: the engine's (kernels, model, timelines with cancelling, masks made beforehand), and what the daemon's io
# thread shares with its pools, in C++ and from outside. The first thing it sees ends a program, and with that its test.
tsan: deps
	@cmake -S . -B $(BUILD)-tsan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O1 -g1' -DLARES_CUDA=OFF -DLARES_SANITIZE=thread
	@ninja -C $(BUILD)-tsan -j $(JOBS) $(TSAN) $(TSAN_DAEMON) lares-sandbox lares_scripted_daemon
	@tests/sanitized.sh $(BUILD)-tsan ctest --test-dir $(BUILD)-tsan --output-on-failure -j 1 -LE 'slow|gpu' \
	  -R "^($$(echo $(TSAN) $(TSAN_DAEMON) $(TSAN_SUITES) | tr ' ' '|'))$$"
TSAN = kernels_tiles_test kernels_linear_test engine_model_forward_test engine_model_draft_dspark_test engine_model_timeline_test engine_model_draft_draft_test engine_model_memory_memory_test engine_model_memory_prefix_test engine_model_together_test engine_model_sequences_test engine_model_soak_test engine_cuda_pieces_test engine_cuda_sequences_test engine_model_memory_page_arena_test engine_text_grammar_grammar_test engine_text_grammar_json_schema_test engine_text_grammar_stretch_test engine_text_grammar_pattern_masks_test engine_text_grammar_schema_ways_test
TSAN_DAEMON = daemon_contexts_test daemon_engine_host_test daemon_log_test daemon_completions_generator_test daemon_completions_prompt_beginnings_test daemon_completions_queue_test daemon_completions_render_test daemon_dialects_read_body_test daemon_session_thrown_test
TSAN_SUITES = daemon_turns_test daemon_recovery_test

# The CUDA kernels, emulated, under a race detector of their own (kernels/cuda/simt/races.h). The last line says what was looked at.
racecheck: deps
	@cmake -S . -B $(BUILD)-races -G Ninja -DCMAKE_BUILD_TYPE=Release -DLARES_CUDA=OFF -DLARES_RACES=ON
	@ninja -C $(BUILD)-races -j $(JOBS) $(RACES)
	@tests/racecheck.py $(BUILD)-races $(JOBS) $(RACES)
RACES = kernels_cuda_races_test kernels_cuda_overlap_test kernels_cuda_launch_test kernels_cuda_hyper_test kernels_cuda_attention_test kernels_cuda_attention_inputs_test kernels_cuda_compress_test kernels_cuda_draft_rows_test kernels_cuda_elementwise_test kernels_cuda_indexer_test kernels_cuda_linear_test kernels_cuda_wide_test kernels_cuda_experts_test engine_cuda_emulated_steps_test

# Prompts, draws, forks, going back and cancelling at random for half an hour: same tokens, same bits, and memory that stays.
SOAK ?= 1800
soak: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) engine_model_soak_test
	@LARES_SOAK_SECONDS=$(SOAK) $(BUILD)/tests/engine_model_soak_test

# Kernels, decode and prefill of the full shape with generated weights beside the machine's ceilings: one table. BENCH="kernels
# --seconds 2" measures less, or longer.
BENCH ?= all
bench: build
	@$(BUILD)/bin/lares bench $(BENCH)
	@[ "$(BENCH)" != all ] || $(MAKE) --no-print-directory bench-residency bench-snapshots bench-sandbox bench-sessions bench-http

# What keeping a repository resident costs: reading a million tokens back, and following a history. HISTORY adds a repository's own.
HISTORY ?=
bench-residency: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares_store_bench lares_resident_bench lares_residency_replay_bench
	@$(BUILD)/tests/lares_store_bench
	@$(BUILD)/tests/lares_resident_bench
	@$(BUILD)/tests/lares_residency_replay_bench $(HISTORY)

# Text on one core, at the vocabulary of TOKENIZER: encoding of this repository's sources, grammar masks, draws of the sampler.
TOKENIZER ?= engine/nano/checkpoint/tokenizer.json
bench-text: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares_tokenizer_bench lares_grammar_mask_bench lares_sampler_bench
	@git ls-files '*.cc' '*.h' '*.py' | xargs $(BUILD)/tests/lares_tokenizer_bench $(TOKENIZER)
	@$(BUILD)/tests/lares_grammar_mask_bench $(TOKENIZER)
	@$(BUILD)/tests/lares_sampler_bench

# Snapshots of a worktree of 20,000 files, 1,000 of them dirty, going back, and a scan, beside a stat of each file; fails where a step waits
# longer than 150 ms and three times that.
bench-snapshots: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares_snapshot_bench
	@$(BUILD)/tests/lares_snapshot_bench

# What the git tool, an outline and a snapshot cost in a repository of yours: make bench-git DIR=/path
bench-git: deps
	@[ -n "$(DIR)" ] || { echo "make bench-git DIR=/path/of/a/repository" >&2; exit 2; }
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares_git_bench
	@$(BUILD)/tests/lares_git_bench "$(DIR)"

# `lares sessions` with 1,000 of them on disk; fails where it takes longer than 100 ms.
bench-sessions: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares lares_scripted_daemon
	@python3 tests/bench/sessions_bench.py $(BUILD)/bin/lares $(BUILD)/tests/lares_scripted_daemon

# What the daemon adds to a model that takes no time, over HTTP; fails where a first byte takes 2 ms, a streamed token 50 us, or 64 clients
# for a minute leave something behind. And what an editor waits for; fails where `lares acp` answers initialize after 100 ms.
bench-http: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares lares_scripted_daemon
	@python3 tests/bench/acp_bench.py $(BUILD)/bin/lares $(BUILD)/tests/lares_scripted_daemon
	@python3 tests/bench/http_bench.py $(BUILD)/tests/lares_scripted_daemon

# A command in its sandbox beside the same command run plainly; fails where the sandbox adds more than 15 ms.
bench-sandbox: deps
	@$(CONFIGURE) -DLARES_TESTS=ON >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@ninja -C $(BUILD) -j $(JOBS) lares-sandbox lares_sandbox_bench
	@$(BUILD)/tests/lares_sandbox_bench $(BUILD)/bin/lares-sandbox

# llama.cpp beside it, from npm: the same logits from the same weights, then the speed of both on a model of 1.3 GB.
bench-peer: build
	@python=python3; [ ! -x /usr/bin/python3 ] || python=/usr/bin/python3; $$python tests/peer/bench_peer.py --bin $(BUILD)/bin --work $(BUILD)/peer

# Trains nano's smaller shape, into build-nano/checkpoint: hours on two cores. Needs python3-torch. The nano that comes with Lares is of
# train_gpu.sh (engine/nano/README.md).
nano-train:
	@engine/nano/train.sh

# 200 failing tests in repositories that training never saw, repaired through the real daemon, tools and sandbox.
nano-eval: build
	@python3 engine/nano/eval.py --bin $(BUILD)/bin --tasks 200 --floor 85

format:
	@.ci/install-packages clang-format
	@git ls-files '*.cc' '*.h' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	@rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-races $(BUILD).log build-nano build-gpu build-deps build-release build-debug
