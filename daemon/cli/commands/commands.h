// The commands of `lares`. Each takes its own argument vector, with argv[0] the full name as the
// user wrote it ("lares model"), and returns the process's exit status (exit_status.h).
#pragma once

namespace lares::cli {

int interactive_command(int argc, const char* const* argv);  // lares, at a terminal
int run_command(int argc, const char* const* argv);          // lares run TASK
int ask_command(int argc, const char* const* argv);          // lares ask QUESTION
int review_command(int argc, const char* const* argv);       // lares review [RANGE]
int attach_command(int argc, const char* const* argv);       // lares attach [SESSION]
int stop_command(int argc, const char* const* argv);         // lares stop [SESSION]
int status_command(int argc, const char* const* argv);       // lares status
int prefix_command(int argc, const char* const* argv);       // lares prefix
int sessions_command(int argc, const char* const* argv);     // lares sessions
int log_command(int argc, const char* const* argv);          // lares log
int diff_command(int argc, const char* const* argv);         // lares diff
int config_command(int argc, const char* const* argv);       // lares config [get|set|unset ...]
int doctor_command(int argc, const char* const* argv);       // lares doctor
int rewind_command(int argc, const char* const* argv);       // lares rewind [TURN]
int fork_command(int argc, const char* const* argv);         // lares fork
int export_command(int argc, const char* const* argv);       // lares export [ID]
int import_command(int argc, const char* const* argv);       // lares import FILE
int replay_command(int argc, const char* const* argv);       // lares replay [ID|FILE]
int title_command(int argc, const char* const* argv);        // lares title ID TEXT
int skills_command(int argc, const char* const* argv);       // lares skills
int rules_command(int argc, const char* const* argv);        // lares rules [add|remove ...]
int completion_command(int argc, const char* const* argv);   // lares completion SHELL
int manual_command(int argc, const char* const* argv);       // lares manual
int acp_command(int argc, const char* const* argv);          // lares acp
int shutdown_command(int argc, const char* const* argv);     // lares shutdown
int prompt_command(int argc, const char* const* argv);       // lares prompt --head
int model_command(int argc, const char* const* argv);        // lares model ...
int tokenize_command(int argc, const char* const* argv);     // lares tokenize ...
int bench_command(int argc, const char* const* argv);        // lares bench ...

}  // namespace lares::cli
