// `bash`: one persistent shell per session, started with the first command. Directory, environment,
// functions and background jobs live until a timeout, a cancel or the shell's own end. The process
// ignores SIGPIPE, as daemons do.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/experimental/channel.hpp>

#include "sandbox/control_paths.h"
#include "sandbox/sensitive_paths.h"
#include "tools/builtin.h"
#include "tools/off_thread.h"
#include "tools/shell/command.h"
#include "tools/shell/job_table.h"
#include "tools/shell/jobs.h"

namespace lares::tools {

class BashTool : public Tool {
 public:
  BashTool(asio::any_io_executor io, const BuiltinOptions& options);
  const Spec& spec() const override { return spec_; }
  bool mutates(const nlohmann::json&) const override { return !options_.worktree_readonly; }
  // A shell of its own, in which the worktree is read-only and no host is reached.
  Tool* for_reading() override;
  asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput on_output) override;
  asio::awaitable<std::string> news() override;
  // What jobs.h is about: jobs.cc. The second and the third are of the shell for reading, too.
  bool any_job_runs() const;
  void add_running(std::vector<RunningJob>& out) const;
  // The job that begins with that process: the shell that has it, its pid there, and its processes
  // as the host numbers them; no shell: there is none.
  struct Found {
    BashTool* shell = nullptr;
    int pid = 0;
    std::vector<int> tree;
  };
  Found job_of(int host_pid);
  void is_stopped(int pid) { shell_.jobs.stopped(pid); }  // by the user

 private:
  struct Shell {
    // Null without a sandbox; ends when the process is gone
    std::unique_ptr<sandbox::ControlPaths::Inside> inside;
    std::shared_ptr<sandbox::SensitivePaths> secrets;                // null without a sandbox
    sandbox::Sensitive kept;                                         // what they have found
    std::shared_ptr<std::map<std::string, std::string>> unreached =  // hosts, and why; untold
        std::make_shared<std::map<std::string, std::string>>();
    std::unique_ptr<sandbox::Process> process;
    std::string pending;  // read, but not yet part of a result
    std::string unread;   // what background jobs printed meanwhile, its end
    ShellJobs jobs;
  };
  asio::awaitable<std::string> ask_for_jobs();
  asio::awaitable<Result<Outcome>> locked(std::string command, OnOutput on_output);
  asio::awaitable<tl::expected<void, std::string>> ensure_shell();
  asio::awaitable<tl::expected<std::string, std::string>> hide_what_appeared();
  asio::awaitable<std::string> end_shell();
  void note_loss(Shell& gone);
  void drop_shell();
  void tell_reset(std::string& text);

  const asio::any_io_executor io_;
  BuiltinOptions options_;
  Spec spec_;
  WorkThreads threads_;
  Shell shell_;
  bool untold_loss_;                       // an earlier shell is gone, and no result has said so
  std::vector<std::string> jobs_killed_;   // with it, as far as is known: a line each
  std::unique_ptr<BashTool> for_reading_;  // null: never asked for
  bool told_it_reads_ = false;             // the model, where this is the one for reading
  // Holds one: calls run one after the other
  asio::experimental::channel<void(boost::system::error_code)> turn_;
};

}  // namespace lares::tools
