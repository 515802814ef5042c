// Credentials and what git obeys: not to be read, not to be written, in every layout a repository
// comes in.
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "sandbox/sensitive_paths.h"
#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

namespace fs = std::filesystem;

#define NEEDS_SANDBOX \
  if (!why_not().empty()) GTEST_SKIP() << why_not()

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return file ? std::string(std::istreambuf_iterator<char>(file), {}) : "<absent>";
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// As git and editors save: another file in the place of the one that is covered.
void save(const fs::path& path, const std::string& text) {
  write(path.native() + ".new", text);
  fs::rename(path.native() + ".new", path);
}

RunOptions as_tools_do(const Scratch& scratch, const fs::path& root) {
  auto options = in(scratch);
  options.policy.root = root;
  auto sensitive = find_sensitive(root).value();
  options.policy.hidden = std::move(sensitive.hidden);
  options.policy.readonly = std::move(sensitive.readonly);
  return options;
}

TEST(Credentials, OfTheHomeDirectoryAreNotThere) {
  NEEDS_SANDBOX;
  const Scratch scratch;
  const auto home = scratch.outside / "home";
  std::string script = "set -f\n";
  for (const char* name : {".ssh/id_ed25519",
                           ".ssh/config",
                           ".ssh/known_hosts",
                           ".netrc",
                           ".git-credentials",
                           ".gitconfig",
                           ".config/git/credentials",
                           ".config/gh/hosts.yml",
                           ".config/hub",
                           ".config/glab-cli/config.yml",
                           ".aws/credentials",
                           ".aws/sso/cache/token.json",
                           ".azure/msal_token_cache.json",
                           ".config/gcloud/application_default_credentials.json",
                           ".kube/config",
                           ".docker/config.json",
                           ".npmrc",
                           ".yarnrc.yml",
                           ".pypirc",
                           ".cargo/credentials.toml",
                           ".m2/settings.xml",
                           ".gradle/gradle.properties",
                           ".gem/credentials",
                           ".hex/hex.config",
                           ".pub-cache/credentials.json",
                           ".julia/servers/pkg.julialang.org/auth.toml",
                           ".cache/huggingface/token",
                           ".ivy2/.credentials",
                           ".nuget/NuGet/NuGet.Config",
                           ".dotnet/corefx/cryptography/x509stores/my/key.pfx",
                           ".conan2/credentials.json",
                           ".composer/auth.json",
                           ".gnupg/private-keys-v1.d/key",
                           ".password-store/x.gpg",
                           ".local/share/keyrings/login.keyring",
                           ".mozilla/firefox/p/logins.json",
                           ".bash_history",
                           ".config/lares/config",
                           ".local/state/lares/journal",
                           ".terraform.d/credentials.tfrc.json",
                           ".vault-token",
                           ".claude/.credentials.json"}) {
    write(home / name, "SECRET");
    const auto path = (home / name).native();
    script += "cat " + path + " 2>/dev/null && echo READ " + path + "\n(echo x >> " + path +
              ") 2>/dev/null\n";
  }
  // Toolchains and skills are shown from the same directories; what lies beside them is not.
  write(home / ".cargo/bin/tool", "tool");
  write(home / ".m2/repository/a.jar", "jar");
  write(home / ".claude/skills/a/SKILL.md", "skill");
  script +=
      "cat ~/.cargo/bin/tool ~/.m2/repository/a.jar ~/.claude/skills/a/SKILL.md\n"
      "for f in ~/.cargo/bin/tool ~/.claude/skills/a/SKILL.md; do (echo x >> $f) 2>/dev/null || "
      "echo kept; done\n";
  const std::string before = ::getenv("HOME") ? ::getenv("HOME") : "";
  ::setenv("HOME", home.c_str(), 1);
  const auto ran = shell(script, in(scratch));
  ::setenv("HOME", before.c_str(), 1);
  EXPECT_EQ(ran.output, "tooljarskillkept\nkept\n") << ran.error;
  for (const auto& entry : fs::recursive_directory_iterator(home)) {
    if (!entry.is_regular_file()) continue;
    const auto text = text_of(entry.path());
    EXPECT_TRUE(text == "SECRET" || text == "tool" || text == "jar" || text == "skill")
        << entry.path();
  }
}

TEST(Credentials, OfTheWorktreeAreEmptyAndStay) {
  NEEDS_SANDBOX;
  const Scratch scratch;
  const std::string key = "-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\n";
  const std::vector<std::pair<std::string, std::string>> files = {
      {".env", "SECRET"},
      {"app/.env.local", "SECRET"},
      {"deploy/id_rsa", "SECRET"},
      {"certs/server.key", key},
      {"certs/server.pem", key},
      {".netrc", "SECRET"},
      {".git-credentials", "SECRET"},
      {".aws/credentials", "SECRET"},
      {".ssh/id_work", "SECRET"},
      {"infra/prod.tfvars", "SECRET"},
      {"infra/kubeconfig", "SECRET"},
      {".npmrc", "//registry.example/:_authToken=SECRET\n"},
      {"a/secrets.yml", "SECRET"}};
  std::string script;
  for (const auto& [name, text] : files) {
    scratch.write(name, text);
    script += "cat " + name + " 2>/dev/null; (echo x > " + name + ") 2>/dev/null; rm -f " + name +
              " 2>/dev/null; mv " + name + " moved 2>/dev/null; cp " + name +
              " copy 2>/dev/null; ln -f " + name +
              " link 2>/dev/null; cat moved copy link 2>/dev/null\n";
  }
  const auto ran = shell(script + "grep -r SECRET . ; tar c . | grep -c SECRET",
                         as_tools_do(scratch, scratch.wt));
  EXPECT_EQ(ran.output, "0\n") << ran.error;
  for (const auto& [name, text] : files) EXPECT_EQ(scratch.read(name), text) << name;
}

TEST(Credentials, AreNotInWhatIsShownOfGitsConfiguration) {
  NEEDS_SANDBOX;
  const Scratch scratch;
  const std::string config =
      "[core]\n\tbare = false\n\trepositoryformatversion = 0\n"
      "[remote \"origin\"]\n\turl = https://user:SECRET@git.example/a/b.git\n\tfetch = "
      "+refs/heads/*:refs/remotes/origin/*\n"
      "[remote \"ssh\"]\n\turl = ssh://git@git.example/a/b.git\n"
      "[http \"https://git.example/\"]\n\textraheader = AUTHORIZATION: basic SECRET\n\tproxy = "
      "http://u:SECRET@proxy.example:3128\n"
      "[url \"https://SECRET@git.example/\"]\n\tinsteadOf = https://git.example/\n"
      "[sendemail] smtpPass = SECRET\n[x]\n\ttoken = SEC\\\nRETSECRET\n\tlast = \"kept\"";
  scratch.write(".git/config", config);
  scratch.write(".git/modules/lib/sub/config",
                "[remote \"origin\"]\n\turl = https://SECRET@git.example/sub.git\n");
  scratch.write(".git/modules/.vim/bundle/x/config",
                "[remote \"origin\"]\n\turl = https://SECRET@git.example/x.git\n");
  scratch.write(".git/modules/plain/config", "[core]\n\tbare = false\n");
  scratch.write("vendor/.git/config",
                "[remote \"origin\"]\n\turl = https://u:SECRET@git.example/vendor.git\n");
  scratch.write("vendor/.git/HEAD", "ref: refs/heads/main\n");
  const auto ran = shell(
      "cat .git/config; grep -r SECRET . ; git config -f .git/config --get remote.origin.url; cat "
      "vendor/.git/config .git/modules/plain/config; "
      "(echo x >> .git/config) 2>/dev/null || echo kept",
      as_tools_do(scratch, scratch.wt));
  EXPECT_EQ(ran.output.find("SECRET"), std::string::npos) << ran.error << ran.output;
  for (const char* line :
       {"\turl = https://git.example/a/b.git\n", "\turl = ssh://git@git.example/a/b.git\n",
        "\tproxy = http://proxy.example:3128\n", "\textraheader =\n", "\tlast = \"kept\"\n",
        "\nhttps://git.example/a/b.git\n", "\turl = https://git.example/vendor.git\n",
        "[core]\n\tbare = false\nkept\n"})
    EXPECT_NE(ran.output.find(line), std::string::npos) << line << " is missing in:\n"
                                                        << ran.output;
  EXPECT_EQ(scratch.read(".git/config"), config);
}

// In the forms that git reads besides the usual ones.
TEST(Credentials, AreNotInGitsConfigurationHoweverTheyAreWritten) {
  NEEDS_SANDBOX;
  const Scratch scratch;
  scratch.write(".git/config",
                "[imap]\n\tpass = SECRET\n[gitlab]\n\tprivate-token = SECRET\n"
                "[credential]\n\thelper = \"!f() { echo password=SECRET; }; f\"\n\thelper = store\n"
                "[credential \"https://a\"] helper = !./SECRET\n"
                "[remote \"a\"]\n\turl = ftp://u:SECRET@git.example/a.git\n"
                "[remote \"b\"]\n\turl = https://git.example/b.git?private_token=SECRET\n"
                "[remote \"c\"]\n\turl = \"ssh://u:SECRET@git.example/c.git\"\n"
                "[remote \"d\"]\n\turl = https://u:SEC\\\nRET@git.example/d.git\n\tfetch = +d\n"
                "[http \"https://a=b/\"] extraheader = SECRET\n"
                "[http \"https://]=/\"] [http] extraheader = SECRET\n"
                "[alias]\n\tx = !curl -H 'Authorization: SECRET'\n\ty = log \\\n--oneline\n"
                "[core]\n\taskPass = /usr/bin/ask\n\tsshCommand = ssh -i a\n"
                "[http]\n\tproxy = u:SECRET@proxy.example:8080\n\tProxy = "
                "\"u:SE/CRET@SECRET@10.0.0.1:8080\"\n\tproxy=proxy.example:8080\n"
                "[http \"https://a\"] proxy = \"u:SECRET\"@b ; once\n"
                "[remote \"e\"]\n\tproxy = socks5h://u:SE/CRET@c:1080\n\tproxy = u:SEC\\\nRET@d:1\n"
                "\tproxy = u:SECRET@f:1 # as in https://wiki/proxy\n"
                "\tproxy = u:SEC://RET@g:1\n\tproxy = \"u:SEC://RET@h:1\"\n"
                "\tproxy = http://i:1/?access_token=SECRET\n"
                "\tproxy = u:SEC://RET@j:1/?access_token=SECRET\n"
                "[sendemail]\n\tsmtpuser = me ; once = 25 \\\n\tsmtppass = SECRET\n");
  const auto ran = shell("cat .git/config", as_tools_do(scratch, scratch.wt));
  EXPECT_EQ(ran.output,
            "[imap]\n\tpass =\n[gitlab]\n\tprivate-token =\n"
            "[credential]\n\thelper =\n\thelper = store\n[credential \"https://a\"] helper =\n"
            "[remote \"a\"]\n\turl = ftp://git.example/a.git\n"
            "[remote \"b\"]\n\turl = https://git.example/b.git\n"
            "[remote \"c\"]\n\turl = \"ssh://git.example/c.git\"\n"
            "[remote \"d\"]\n\turl = https://git.example/d.git\n\tfetch = +d\n"
            "[http \"https://a=b/\"] extraheader =\n[http \"https://]=/\"] [http] extraheader =\n"
            "[alias]\n\tx =\n\ty = log \\\n--oneline\n"
            "[core]\n\taskPass = /usr/bin/ask\n\tsshCommand = ssh -i a\n"
            "[http]\n\tproxy = proxy.example:8080\n\tProxy = \"10.0.0.1:8080\"\n"
            "\tproxy=proxy.example:8080\n[http \"https://a\"] proxy = b ; once\n"
            "[remote \"e\"]\n\tproxy = socks5h://c:1080\n\tproxy = d:1\n"
            "\tproxy = f:1 # as in https://wiki/proxy\n\tproxy = g:1\n\tproxy = \"h:1\"\n"
            "\tproxy = http://i:1/\n\tproxy =\n"
            "[sendemail]\n\tsmtpuser = me ; once = 25 \\\n\tsmtppass =\n");
}

TEST(Credentials, AreNotShownOfALinkedWorktreesRepository) {
  NEEDS_SANDBOX;
  if (::system("command -v git >/dev/null 2>&1") != 0) GTEST_SKIP() << "git is not installed";
  const Scratch scratch;
  const auto repo = (scratch.outside / "repo").native(), linked = (scratch.dir / "linked").native();
  ASSERT_EQ(::system(("git init -q " + repo + " && cd " + repo +
                      " && git -c user.name=a -c user.email=a@b commit -qm first --allow-empty && "
                      "git remote add origin "
                      "https://user:SECRET@git.example/a.git && git worktree add -q " +
                      linked + " 2>/dev/null")
                         .c_str()),
            0);
  const auto ran = shell("cat " + repo + "/.git/config; git remote get-url origin",
                         as_tools_do(scratch, linked));
  EXPECT_EQ(ran.output.find("SECRET"), std::string::npos) << ran.output;
  EXPECT_NE(ran.output.find("\nhttps://git.example/a.git\n"), std::string::npos)
      << ran.error << ran.output;
}

// Repositories as they come, made by git itself; `root` is where the session works, `kept` what no
// command there may change.
struct Layout {
  const char* name;
  const char* script;  // in the scratch directory
  const char* root;
  std::vector<std::string> kept;  // files; a hook that is not there shall not appear
};

class GitLayout : public testing::TestWithParam<Layout> {};

TEST_P(GitLayout, KeepsWhatGitObeys) {
  NEEDS_SANDBOX;
  if (::system("command -v git >/dev/null 2>&1") != 0) GTEST_SKIP() << "git is not installed";
  const Scratch scratch;
  fs::remove_all(scratch.wt);
  const auto& layout = GetParam();
  const auto setup =
      "cd " + scratch.dir.native() +
      " && export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a "
      "GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b && "
      "{ git init -q -b main repo && git -C repo commit -qm first --allow-empty; } && { " +
      layout.script + "\n} >/dev/null 2>&1";
  ASSERT_EQ(::system(setup.c_str()), 0) << setup;
  std::string script;
  std::vector<std::string> before;
  for (const auto& name : layout.kept) {
    const auto path = (scratch.dir / name).native(),
               dir = (scratch.dir / name).parent_path().native();
    before.push_back(text_of(path));
    script += "(echo x >> " + path + ") 2>/dev/null; (echo x > " + path + ".new && mv " + path +
              ".new " + path + ") 2>/dev/null; rm -f " + path + " 2>/dev/null; mv " + dir + " " +
              dir + ".moved 2>/dev/null && mkdir -p " + dir + " && echo x > " + path + "\n";
  }
  const auto options = as_tools_do(scratch, scratch.dir / layout.root);
  const auto ran = shell(
      script +
          "git log --format=%s && { git status --short || git rev-parse --is-bare-repository; } "
          ">/dev/null 2>&1 && echo works; echo x > new && cat new",
      options);
  EXPECT_EQ(ran.output, "first\nworks\nx\n") << ran.error;
  for (std::size_t i = 0; i < before.size(); ++i)
    EXPECT_EQ(text_of(scratch.dir / layout.kept[i]), before[i]) << layout.kept[i];
}

INSTANTIATE_TEST_SUITE_P(
    Credentials, GitLayout,
    testing::Values(
        Layout{"Plain",
               "true",
               "repo",
               {"repo/.git/config", "repo/.git/HEAD", "repo/.git/hooks/pre-commit",
                "repo/.git/info/attributes", "repo/.git/config.worktree"}},
        Layout{"LinkedWorktree",
               "git -C repo worktree add -q ../linked",
               "linked",
               {"linked/.git", "repo/.git/config", "repo/.git/hooks/post-checkout",
                "repo/.git/worktrees/linked/HEAD", "repo/.git/worktrees/linked/commondir"}},
        Layout{"LinkedWorktreeInside",
               "git -C repo worktree add -q trees/one",
               "repo",
               {"repo/trees/one/.git", "repo/.git/config", "repo/.git/worktrees/one/gitdir",
                "repo/.git/hooks/pre-commit"}},
        Layout{"Submodule",
               "git init -q -b main super && git -C super -c protocol.file.allow=always submodule "
               "add -q ../repo libs/sub && git -C super commit -qm first",
               "super",
               {"super/.git/config", "super/libs/sub/.git", "super/.git/modules/libs/sub/config",
                "super/.git/modules/libs/sub/hooks/post-checkout"}},
        Layout{"InsideASubmodule",
               "git init -q -b main super && git -C super -c protocol.file.allow=always submodule "
               "add -q ../repo libs/sub && git -C super commit -qm super",
               "super/libs/sub",
               {"super/libs/sub/.git", "super/.git/modules/libs/sub/config",
                "super/.git/modules/libs/sub/hooks/pre-commit"}},
        Layout{"RepositoryBelow",
               "git clone -q repo repo/vendor/lib",
               "repo",
               {"repo/vendor/lib/.git/config", "repo/vendor/lib/.git/hooks/pre-commit",
                "repo/vendor/lib/.git/HEAD"}},
        Layout{"BareBesideItsWorktrees",
               "git clone -q --bare repo all/.bare && echo 'gitdir: ./.bare' > all/.git && git -C "
               "all worktree add -q main main",
               "all",
               {"all/.git", "all/.bare/config", "all/.bare/hooks/post-checkout",
                "all/.bare/worktrees/main/gitdir", "all/main/.git"}},
        Layout{"WorktreeOfABareOne",
               "git clone -q --bare repo all/.bare && echo 'gitdir: ./.bare' > all/.git && git -C "
               "all worktree add -q main main",
               "all/main",
               {"all/main/.git", "all/.bare/config", "all/.bare/hooks/post-checkout"}}),
    [](const auto& tested) { return tested.param.name; });

// While a sandbox lives: what is in the place of a covered file is another file, which nothing
// covers.
void stay_kept_when_saved_anew(Backend backend) {
  const Scratch scratch;
  const std::string before = "[remote \"o\"]\n\turl = https://me:SECRET@example.com/x\n";
  const fs::path config = scratch.wt / ".git/config", servers = scratch.wt / ".mcp.json",
                 below = scratch.wt / "below/.git/config", editor = scratch.wt / ".vscode";
  for (const auto& path : {config, below}) write(path, before);
  write(servers, "{}");
  write(editor / "tasks.json", "{}");
  auto options = as_tools_do(scratch, scratch.wt);
  options.backend = backend;
  SensitivePaths paths(scratch.wt);
  const SensitivePaths::Cancelled cancelled = false;
  ASSERT_TRUE(paths.begin(cancelled));
  EXPECT_TRUE(paths.before_command(true, cancelled).value().replaced.empty());
  const fs::path cloned = scratch.wt / "cloned/.git/config",
                 worktree = scratch.wt / ".git/config.worktree";
  options.meanwhile = [&](RunOptions& now) {
    for (const auto& path : {config, below}) save(path, before + "\tfetch = +a:b\n");
    save(servers, "{ }");
    fs::rename(editor, scratch.outside / "old");
    write(editor / "tasks.json", "[]");
    write(cloned.parent_path() / "HEAD", "ref: refs/heads/main\n");
    for (const auto& path : {cloned, worktree}) write(path, before);
    now.keep = paths.before_command(true, cancelled).value().replaced;
    EXPECT_TRUE(paths.before_command(true, cancelled).value().replaced.empty());
  };
  options.input =
      "cat .git/config below/.git/config cloned/.git/config .git/config.worktree; "
      "for f in .git/config below/.git/config cloned/.git/config .git/config.worktree "
      ".git/new .mcp.json .vscode/tasks.json .vscode/new; do echo bad >> $f; done";
  const auto ran = run({"/bin/sh"}, options);
  EXPECT_EQ(ran.error, "");
  EXPECT_EQ(ran.output.find("SECRET"), std::string::npos) << ran.output;
  EXPECT_NE(ran.output.find("fetch = +a:b"), std::string::npos) << ran.output;
  for (const auto& path : {config, below, cloned, worktree, servers, editor / "tasks.json"})
    EXPECT_EQ(text_of(path).find("bad"), std::string::npos) << path;
  EXPECT_FALSE(fs::exists(editor / "new"));
  EXPECT_FALSE(fs::exists(scratch.wt / ".git/new"));
}

// What a command has cloned it may work in, until somebody else changes its configuration.
TEST(Credentials, OfARepositoryThatACommandMadeAreItsOwn) {
  const Scratch scratch;
  SensitivePaths paths(scratch.wt);
  const SensitivePaths::Cancelled cancelled = false;
  ASSERT_TRUE(paths.begin(cancelled));
  ASSERT_TRUE(paths.before_command(true, cancelled));
  const fs::path config = scratch.wt / "lib/.git/config";
  write(config.parent_path() / "HEAD", "ref: refs/heads/main\n");
  write(config, "[core]\n");
  ASSERT_TRUE(paths.after_command(cancelled));
  EXPECT_TRUE(paths.before_command(true, cancelled).value().replaced.empty());
  save(config, "[remote \"o\"]\n\turl = https://me:SECRET@example.com/x\n");
  EXPECT_EQ(paths.before_command(true, cancelled).value().replaced,
            std::vector<std::string>{config.native()});
  EXPECT_TRUE(paths.before_command(true, cancelled).value().replaced.empty());
}

TEST(Credentials, StoredInAGitDirectoryAreHidden) {
  const Scratch scratch;
  write(scratch.wt / ".git/.git-credentials", "https://me:SECRET@example.com\n");
  write(scratch.wt / "lib/.git/credentials", "https://me:SECRET@example.com\n");
  SensitivePaths paths(scratch.wt);
  const SensitivePaths::Cancelled cancelled = false;
  EXPECT_EQ(paths.begin(cancelled).value().hidden,
            (std::vector<std::string>{scratch.wt / ".git/.git-credentials",
                                      scratch.wt / "lib/.git/credentials"}));
  write(scratch.wt / ".git/credentials", "https://me:SECRET@example.com\n");
  EXPECT_EQ(paths.before_command(true, cancelled).value().fresh,
            std::vector<std::string>{".git/credentials"});
}

TEST(Credentials, StayKeptWhenSavedAnew) {
  NEEDS_SANDBOX;
  stay_kept_when_saved_anew(Backend::native);
}

TEST(Credentials, StayKeptWhenSavedAnewByBubblewrapToo) {
  if (::geteuid() == 0 || ::access("/usr/bin/bwrap", X_OK) != 0)
    GTEST_SKIP() << "bubblewrap is not for root, or not installed";
  stay_kept_when_saved_anew(Backend::bubblewrap);
}

}  // namespace
}  // namespace lares::sandbox::test
