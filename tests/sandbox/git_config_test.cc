// Which settings of a git configuration run something.
#include "sandbox/git_config.h"

#include <gtest/gtest.h>

namespace lares::sandbox::test {
namespace {

TEST(GitConfig, NamesWhatRuns) {
  for (const char* text : {"[core]\n\tpager = ./evil",
                           "[CORE]HooksPath = vi",
                           "[core]\r\n fsmonitor = x y\r\n",
                           "[filter \"a]b\"]\nprocess=x",
                           "[filter.x]\nsmudge=x",
                           "[diff \"x\"]\ntextconv=x",
                           "[credential \"https://x\"]\nhelper = !x",
                           "[credential]\nhelper = /x",
                           "[includeIf \"gitdir:x\"]\npath=x",
                           "[remote \"o\"]\nurl = ext::x",
                           "[protocol \"ext\"]\nallow=always",
                           "[protocol]\nallow = always",
                           "[gpg \"ssh\"]\nprogram=x",
                           "[alias]\nx = \"!\"x",
                           "[alias]\nst = -c core.fsmonitor=./evil status",
                           "[alias]\nst = --exec-path=bin status",
                           "[alias]\nlg = grep -O./evil x",
                           "[alias]\nst = difftool -y --extcmd=./evil",
                           "[alias]\nst = rebase -x ./evil HEAD~1",
                           "[alias]\nst = config core.hooksPath hooks",
                           "[alias]\nlg = log --output=.envrc",
                           "[alias \"st\"]\ncommand = rebase -x ./evil HEAD~1",
                           "[lfs \"customtransfer.x\"]\npath = ./evil",
                           "[svn]\nauthorsProg = ./evil",
                           "[remote \"x\"]\nannex-start-command = ./evil",
                           "[core]\nbare = false # \\\nfsmonitor = ./evil",
                           "# \\\n[core]\n# \\\nsshCommand = x",
                           "\xEF\xBB\xBF[core]editor=x",
                           "[url \"x\"]\ninsteadOf = y",
                           "[submodule \"x\"]\nupdate = !x",
                           "[mergetool \"x\"]\npath = vi",
                           "[core]\nfsmon\\\nitor = x\n[diff]\nexternal = \"x\\\ny\"",
                           "[hook \"x\"]\ncommand = cat",
                           "[credential]\nhelper = \"x\\nsh evil\"",  // two commands of a shell
                           "[credential]\nhelper = store --file=passwords",
                           "[submodule \"x\"]\n# \\\nupdate = \\\n!x",
                           "[submodule \"x\"]\r\n; \\\r\nupdate = \\\r\n!x\r\n"})
    EXPECT_NE(judge_config(text).runs, "") << text;
  // Each where git reads it.
  for (const char* text : {"[core]\naskPass = x",
                           "[core]\ngitProxy = x",
                           "[core]\nalternateRefsCommand = x",
                           "[core]\nsshCommand = x",
                           "[sequence]\neditor = x",
                           "[merge \"x\"]\ndriver = x",
                           "[filter \"x\"]\nclean = x",
                           "[diff \"x\"]\ncommand = x",
                           "[mergetool \"x\"]\ncmd = x",
                           "[difftool \"x\"]\npath = vi",
                           "[browser \"x\"]\npath = vi",
                           "[guitool \"x\"]\ntitle = x",
                           "[man]\nviewer = x",
                           "[pager]\nlog = x",
                           "[gpg \"ssh\"]\ndefaultKeyCommand = x",
                           "[remote \"o\"]\nuploadpack = x",
                           "[remote \"o\"]\nreceivepack = x",
                           "[remote \"o\"]\nvcs = x",
                           "[uploadpack]\npackObjectsHook = x",
                           "[interactive]\ndiffFilter = x",
                           "[init]\ntemplateDir = x",
                           "[imap]\ntunnel = x",
                           "[web]\nbrowser = x",
                           "[sendemail]\nsendmailCmd = x",
                           "[sendemail]\ntoCmd = x",
                           "[sendemail]\nccCmd = x",
                           "[sendemail]\nheaderCmd = x",
                           "[sendemail]\nsmtpServer = x",
                           "[instaweb]\nhttpd = x",
                           "[gc]\nrecentObjectsHook = x",
                           "[trailer \"x\"]\ncmd = cat"})
    EXPECT_NE(judge_config(text).runs, "") << text;
  for (const char* text :
       {"",
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = "
        "false\n\tlogallrefupdates = true\n",
        "[core]\nfsmonitor = false\npager = cat\neditor = true",
        "[remote \"origin\"]\n\turl = https://x/y.git\n\tfetch = "
        "+refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tremote = origin\n\tmerge = "
        "refs/heads/main\n",
        "[submodule \"x\"]\n\tactive = true\n\turl = /x\n",
        "[credential]\nhelper = cache --timeout=60", "[credential]\nhelper = store",
        "[alias]\nst = status", "[alias]\nlg = \"log --graph --oneline -20\"",
        "# [core] pager = x\n; hooksPath = x", "[protocol \"file\"]\nallow = always",
        "[user]\nname = clean\nemail = x", "[core"})
    EXPECT_EQ(judge_config(text).runs, "") << text;
  EXPECT_EQ(judge_config("[core]\nworktree = ../../x\n").worktrees.front(), "../../x");
  // Read as git reads it, beside what else that could be.
  EXPECT_EQ(judge_config("[core]\n# \\\nworktree = \\\n../../x\n").worktrees.front(), "../../x");
}

}  // namespace
}  // namespace lares::sandbox::test
