// Files that are hard to tell from their rendering, and comparing bases.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/daemon/residency/workspaces.h"

namespace lares::daemon::test {

inline void awkward_files(tools::Workspace& files) {
  put(files, "empty.txt", "");
  put(files, "newline.txt", "\n");
  put(files, "newlines.txt", "\n\n");
  put(files, "no-newline.txt", "the last line has none");
  put(files, "ends.txt", "</file>\n</file>");
  put(files, "begins.txt", "<file path=\"x\" lines=\"1\" sha=\"00000000\">\n");
  put(files, "a \"name\" & <more>\n.txt", "x\n");
  put(files, "\xff\xfe.txt", "a name in no encoding\n");
  put(files, "uml\xc3\xa4ut.txt", "\xef\xbd\x9cUser\xef\xbd\x9c \xf0\x9f\x8f\xa0\n");
  put(files, "crlf.txt", "on disk\nwith more\n");
  files["crlf.txt"].crlf = true;
  files["crlf.txt"].n_bytes += 2;
  put_unshown(files, "key.pem", "secret");
}

// In every field; of files that are not shown in full the text is gone.
inline void expect_equal(const Base& back, const Base& base) {
  EXPECT_EQ(back.tokens, base.tokens);
  EXPECT_EQ(back.has_tree, base.has_tree);
  EXPECT_EQ(back.files_end, base.files_end);
  EXPECT_EQ(back.tokens_max, base.tokens_max);
  ASSERT_EQ(back.files.size(), base.files.size());
  for (std::size_t i = 0; i < base.files.size(); ++i) {
    const tools::SourceFile &a = back.files[i].source, &b = base.files[i].source;
    SCOPED_TRACE(b.path);
    EXPECT_EQ(a.path, b.path);
    EXPECT_EQ(a.blob, b.blob);
    EXPECT_EQ(a.shown, b.shown);
    EXPECT_EQ(a.reason, b.reason);
    EXPECT_EQ(a.n_bytes, b.n_bytes);
    EXPECT_EQ(a.crlf, b.crlf);
    EXPECT_EQ(back.files[i].tier, base.files[i].tier);
    EXPECT_EQ(back.files[i].start, base.files[i].start);
    EXPECT_EQ(back.files[i].n_tokens, base.files[i].n_tokens);
    ASSERT_EQ(a.text != nullptr, b.text && b.shown == tools::Shown::full);
    if (a.text) {
      EXPECT_EQ(*a.text, *b.text);
    }
  }
}

}  // namespace lares::daemon::test
