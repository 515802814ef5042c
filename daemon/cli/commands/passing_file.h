// A file that the daemon is to read or write in place of what is this process's alone: its standard
// input and output, a pipe, a shell's <( ) and >( ).
#pragma once

#include <string>

#include "daemon/client/error.h"
#include "tools/fd.h"

namespace lares::cli {

class PassingFile {
 public:
  PassingFile() = default;
  ~PassingFile();  // takes it away
  PassingFile(const PassingFile&) = delete;
  PassingFile& operator=(const PassingFile&) = delete;

  Result<> make();  // a directory of our own, for it alone
  std::string path() const { return directory_ + "/session"; }
  // To `to`, empty being standard output.
  Result<> pour(const std::string& to) const;

 private:
  std::string directory_;
};

// What `from` gives until its end, "-" being standard input, in a file without a name: it is gone
// when this process is, however that ends.
Result<tools::Fd> drained(const std::string& from);
// By which others open it.
std::string path_of(const tools::Fd& file);

// Whether it is there, and is no regular file and no directory.
bool is_passage(const std::string& path);

}  // namespace lares::cli
