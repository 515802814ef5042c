// The native protocol between laresd and its clients, version 1: method names, typed requests,
// results and notifications, error codes and limits. Parts of it have headers of their own: sessions
// in worktrees (worktree_wire.h), sessions as files (transfer.h), background jobs (job_wire.h), what
// an editor has not saved (overlay_wire.h), MCP servers that a client brings (mcp_wire.h). How these
// types become JSON and back: wire.h; the socket: socket_path.h.
//
// Framing. Newline-delimited JSON-RPC 2.0 over the Unix socket: one object per line, UTF-8, no
// batches, a line (its newline included) at most kLineBytesMax. The first line of a connection must
// be an `initialize` request. Requests on one connection are answered in order of completion, not
// of arrival; `id` is a string or an integer. Within version 1 only fields, methods and enum values
// are added: ignore the unknown ones.
//
// Sessions and events. A session is one conversation about one repository. Every durable fact of a
// session is a notification with a `seq` (1, 2, 3, ...; some facts are the daemon's own, so a
// client sees gaps). Facts are on disk before anyone sees them. Notifications without `seq` are
// ephemeral: deltas, snapshots, progress, states. What a client shows must be derivable from the
// durable ones; deltas only make it live.
//   session/subscribe{after} = all durable facts with seq > after, then one item/snapshot per open
//   item, then live. A client that lost its connection for a second or a week makes the same call
//   with the last seq it has seen.
//
// Items are what a turn consists of, in order: user, think, text, tool, error, note. Life of an
// item:
//   item/started    (ephemeral; the item has nothing but id, kind and, for tools, name)
//   item/delta      (ephemeral; appends to one field of the item)
//   item/updated    (durable; tools only: the call is complete and its execution starts now)
//   item/completed  (durable; the whole item, replaces everything a client has of it)
// Items of kind user, error and note come as item/completed at once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::daemon::protocol {

inline constexpr int kVersion = 1;

// ---- limits

// One request or notification, newline included
inline constexpr std::size_t kLineBytesMax = 16u << 20;
inline constexpr int kOutstandingMax = 64;  // requests a connection may have unanswered
// Queued to one client; see item/delta for what happens near it
inline constexpr std::size_t kOutboxBytesMax = 8u << 20;
inline constexpr int kStuckMsMax = 60'000;  // a client that reads nothing for so long is evicted
inline constexpr std::size_t kPromptBytesMax = 4u << 20;  // prompt/send content
// Prompts of one session waiting for their turn
inline constexpr std::size_t kPromptsQueuedMax = 64;
inline constexpr int kHistoryMax = 1000;  // events in one session/history answer

// ---- errors

// JSON-RPC's own codes and ours. `error.data` = {"kind": <name>, "retryable": bool, "hint": "what
// to do", "retryAfterMs"?: n}.
enum class Code : int {
  // Kind "parse_error": not JSON; the connection stays open. Answered with id null
  parse_error = -32700,
  invalid_request = -32600,  // "invalid_request": not a request, or initialize missing or repeated
  unknown_method = -32601,   // "unknown_method"
  invalid_params = -32602,   // "invalid_params": the message names the field
  internal = -32603,         // "internal": the daemon failed (disk full, ...)
  // "overloaded": too many outstanding requests or queued prompts; retryAfterMs
  overloaded = -32001,
  not_found = -32002,  // "not_found": no such session, root, ...
  busy = -32003,       // "busy": a turn runs and delivery was "start", or expectTurn did not match
  not_ready = -32004,  // "not_ready": the engine failed to load (while it loads, prompts simply
                       // wait)
  denied = -32005,     // "denied": role observe may not change anything
  conflict = -32009,   // "conflict": this prompt id was used with another content or mode
};
std::string_view kind_of(Code code);

struct Error {
  Code code = Code::internal;
  std::string message;     // what was attempted, on what, why it failed, what to do
  std::string hint;        // for people; may be empty
  int retry_after_ms = 0;  // 0: retrying as it is will not help
};

// ---- initialize, ping

// "control": everything. "observe": methods that change nothing. (The names "acp" and "mcp" are
// reserved.)
struct Initialize {
  static constexpr std::string_view kMethod = "initialize";
  int protocol = kVersion;
  std::string role = "control";
  std::string client;  // name/version, for the log
};
struct InitializeResult {
  int protocol = kVersion;
  std::string server;     // "laresd/0.1.0"
  std::string daemon_id;  // of the state directory: the same after a restart
  std::string boot_id;    // of this process: another after a restart
  std::int64_t pid = 0;
  std::string state_dir, socket;
  // "steer", "queue", "interrupt", "withdraw", "history", "question"
  std::vector<std::string> capabilities;
  std::int64_t line_bytes_max = kLineBytesMax, outstanding_max = kOutstandingMax,
               outbox_bytes_max = kOutboxBytesMax;
};

// -> {} ; may be sent at any time.
struct Ping {
  static constexpr std::string_view kMethod = "ping";
};
struct Nothing {};

// ---- server

struct ModelStatus {
  std::string directory, model_type;
  std::int64_t n_layers = 0, vocab_size = 0, n_context_max = 0, weight_bytes = 0, n_parameters = 0;
};
// Routed experts, where not all of them fit into memory; bytes, and uses by a layer that found one
// there or did not.
struct ExpertStatus {
  std::int64_t bytes = 0, bytes_max = 0, resident = 0, read = 0, found = 0, missed = 0;
  std::int64_t remembered = 0;  // experts that earlier daemons were asked for
  std::int64_t ahead = 0;       // of `read`: because of that, before anything was asked of this one
  std::string unkept;           // why what experts are asked for could not be written down
};
// All timelines and shared beginnings of the engine, what they share counted once; bytes.
struct SequenceStatus {
  std::int64_t bytes = 0, bytes_max = 0, most = 0;  // now; at most, 0: what is available; ever
  std::int64_t n = 0;                               // timelines
  // Times one that waited gave up work space, cells, and times there was no room
  std::int64_t parked = 0, evicted = 0, refused = 0;
};
// Also the params of the notification "server/state", sent to every initialised connection when
// something in it changes (load progress at most ten times a second) and once right after
// initialize.
struct ServerState {
  static constexpr std::string_view kNotification = "server/state";
  std::string state = "loading";  // loading | ready | failed | stopping
  // While loading: units of the loader's own; total 0 while unknown
  std::int64_t done = 0, total = 0;
  // failed: why, in one line; ready: what a person should know of the model, or nothing
  std::string message;
};
struct ServerStatus {
  static constexpr std::string_view kMethod = "server/status";
};
// See repo/prefix.
struct PrefixFile {
  std::string path;
  std::string state;   // "full", "outline", "path": as in the base; "overlay": changes are shown;
                       // "hidden": they are not; "gone"
  std::string reason;  // of outline and path
  int tier = 0;        // of volatility, 0 the coldest; -1: the base does not have it
  std::int64_t n_tokens = 0;
};
struct RepoPrefixResult {
  std::string root;
  std::uint64_t epoch = 0, version = 0;  // of the base; of the changes since
  bool looking = false;                  // the files are being read, rendered or read back
  std::int64_t base_tokens = 0, evaluated = 0, tokens_max = 0;
  std::int64_t overlay_tokens = 0, overlay_tokens_max = 0, n_hidden = 0;
  // Tokens behind the base that every new session begins with, and that are evaluated
  std::int64_t overlay_evaluated = 0;
  // Of a base that is computed to replace this one; 0: none
  std::int64_t next_tokens = 0, next_evaluated = 0;
  double tokens_per_s = 0;                       // of evaluating, lately
  std::int64_t page_bytes = 0;                   // in memory
  std::int64_t disk_bytes = 0, disk_tokens = 0;  // kept for the next start
  bool scrubbing = false;  // because repo/scrub asked for it; else now and then
  // Of disk_tokens: evaluated anew in this pass and found equal to the bit
  std::int64_t scrubbed = 0;
  std::string scrub_found;  // what was not, or could not be compared; empty: nothing
  // By sessions since the daemon began: of their prompts, evaluated already and not
  std::int64_t found_tokens = 0, prefilled_tokens = 0;
  std::vector<PrefixFile> files;
  std::vector<std::string> left_out;
};

struct ServerStatusResult {
  ServerState engine;
  ModelStatus model;     // empty until ready, except `directory`
  ExpertStatus experts;  // bytes_max 0: all fit
  SequenceStatus sequences;
  std::string version, socket, state_dir;
  std::string http;  // "127.0.0.1:8000": where HTTP is served over TCP too; empty: nowhere
  std::int64_t pid = 0, uptime_ms = 0;
  int n_clients = 0, n_sessions = 0, n_running = 0;  // n_running: turns in progress
  int n_queued = 0;                                  // engine steps waiting for the engine
  std::string shell;  // "" when commands run sandboxed; else one line saying why bash and test are
                      // off
  std::vector<RepoPrefixResult> prefixes;  // of every resident repository, without files
};

// "now": running turns end with reason "cancelled", their facts are written, then the process ends.
// "idle": when no turn runs and none waits; prompts sent meanwhile are refused. -> {} before it
// happens.
struct ServerShutdown {
  static constexpr std::string_view kMethod = "server/shutdown";
  std::string when = "now";
};

// The constant beginning of every prompt: effort text, system sentence, tool catalogue. Byte-exact.
struct PromptHead {
  static constexpr std::string_view kMethod = "server/prompt_head";
};
struct PromptHeadResult {
  std::string text;
};

// ---- repositories

struct SkippedFile {
  std::string path, why;
};
// Where a session would work that is begun in this directory. `root` may be any directory inside a
// git worktree: the worktree's top is used and returned. Not a worktree: the directory itself. What
// the model will see of it: repo/prefix. Errors: not_found; invalid_params where no session may
// begin, with why.
struct RepoOpen {
  static constexpr std::string_view kMethod = "repo/open";
  std::string root;  // absolute
};
struct RepoOpenResult {
  std::string root;  // absolute, symlinks resolved: give this one to session/create
  bool git = false;
};

// What of a repository stands before its sessions. With `files`, file by file. epoch 0: nothing
// yet.
struct RepoPrefix {
  static constexpr std::string_view kMethod = "repo/prefix";
  std::string root;  // resolved as by repo/open
  bool files = false;
};

// Evaluates anew what is kept on disk of a repository's base, while nobody else wants the engine,
// and compares every byte; repo/prefix says how far it is. -> {} at once. Errors: not_found where
// nothing is kept.
struct RepoScrub {
  static constexpr std::string_view kMethod = "repo/scrub";
  std::string root;  // resolved as by repo/open
};

// ---- sessions

constexpr bool is_mode(std::string_view mode) { return mode == "work" || mode == "ask"; }

// What a session may be told at its creation; what is absent takes the daemon's default.
struct SessionSettings {
  // "work": tools; "ask": only tools that change nothing. Of prompts that name none
  std::string mode = "work";
  // Default: the checkpoint's generation_config.json, else 1 and 1; ask: lower. 0 is greedy
  std::optional<double> temperature, top_p;
  std::optional<std::uint64_t> seed;  // default: random, then kept
  // Steps (answers of the model) in one turn; default kStepsMax
  std::optional<std::int64_t> steps_max;
  std::optional<std::int64_t> step_tokens_max;   // tokens in one step
  std::optional<std::int64_t> think_tokens_max;  // of them, reasoning; then "</think>" is forced
  // Commands run with the user's own rights: only when the user said so in so many words
  bool no_sandbox = false;
  // What may change something without being asked for: "auto": all but what loses work (see
  // approval/reply); "edits": edits, no commands; "ask": nothing. "plan" and "read-only": nothing
  // may be changed at all.
  std::string policy = "auto";
  // Calls that ask while no interactive subscriber is there: "wait" for one, or "skip": they do not
  // run, and the model is told that nobody answered, which is no denial.
  std::string unattended = "wait";
  // The model is not done before the repository's tests pass: when it says so and they do not, it
  // reads what failed and goes on.
  bool until_tests_pass = false;
  // A JSON Schema (engine/json_schema.h), as text: what the model says, other than thinking and
  // calls, is one document of it. Empty: it is text.
  std::string answer_schema;
};
struct SessionCreate {
  static constexpr std::string_view kMethod = "session/create";
  std::string root;   // absolute directory; resolved as by repo/open
  std::string title;  // may be empty: then the first prompt's first line
  SessionSettings settings;
};
struct SessionInfo {  // result of session/create and session/get, element of session/list,
                      // params.session of notifications
  std::string session_id, root, title;
  std::string state = "idle";  // see SessionState
  bool closed = false;
  std::int64_t created_ms = 0, updated_ms = 0;  // Unix time
  std::int64_t last_seq = 0, n_turns = 0;
  std::int64_t turn_id = 0;         // the running turn, 0 when none
  std::int64_t turn_began_ms = 0;   // when it began, Unix time
  std::int64_t context_tokens = 0;  // length of the transcript
  SessionSettings settings;         // all fields filled
};
struct SessionList {  // newest first
  static constexpr std::string_view kMethod = "session/list";
  std::string root;        // only this repository's; empty: all
  bool closed = false;     // closed ones too
  bool worktrees = false;  // those that work in worktrees of that repository made for them, too
};
struct SessionListResult {
  std::vector<SessionInfo> sessions;
};
struct SessionGet {
  static constexpr std::string_view kMethod = "session/get";
  std::string session_id;  // or an unambiguous beginning of one, here and in every other method
};
// Cancels a running turn, ends its shell; the journal stays. -> {}. A closed session takes no
// prompts but can be read.
struct SessionClose {
  static constexpr std::string_view kMethod = "session/close";
  std::string session_id;
};
// The answer comes first, then the replay. Subscribing again replaces the earlier subscription of
// this connection. after -1: nothing is replayed, only open items' snapshots and what is new.
struct SessionSubscribe {
  static constexpr std::string_view kMethod = "session/subscribe";
  std::string session_id;
  std::int64_t after = 0;
  bool interactive = false;  // a person is there who can answer questions: see question/reply
};
struct SessionSubscribeResult {
  SessionInfo session;
  std::int64_t replay_to = 0;  // the facts up to this seq follow at once; later ones are live
};
struct SessionUnsubscribe {  // -> {}
  static constexpr std::string_view kMethod = "session/unsubscribe";
  std::string session_id;
};
// Durable facts with seq > after, in order. Each event is {"method": ..., "params": ...} as it was
// notified.
struct SessionHistory {
  static constexpr std::string_view kMethod = "session/history";
  std::string session_id;
  std::int64_t after = 0, limit = kHistoryMax;
};
// Result: {"events": [{"method", "params"}...], "more": bool}; wire.h has SessionHistoryResult.

// Goes back to before a turn: the transcript, and the files that the calls since then changed; what
// others changed stays. With dry_run it only says what would be done. Turns must not run: busy.
struct SessionRewind {
  static constexpr std::string_view kMethod = "session/rewind";
  std::string session_id;
  std::int64_t turn_id = 0;       // 0: the last there is
  std::string files = "restore";  // restore | keep
  bool dry_run = false;
};
struct RewindChange {
  std::string path, kind;  // added | changed | removed | mode | type, by the rewinding
  // It was not as the session left it: what others changed there since goes along (the undo has it)
  bool others = false;
};
struct SessionRewindResult {
  std::int64_t turn_id = 0;
  std::vector<RewindChange> changes;
  std::vector<SkippedFile> not_done;  // they are as they were
  std::string undo;  // the snapshot of the moment before; empty: no file was touched
};
// Takes the last rewinding back, files and all, if no turn has begun since. Result:
// SessionRewindResult.
struct SessionUnrewind {
  static constexpr std::string_view kMethod = "session/unrewind";
  std::string session_id;
};
// Another session that knows what this one knew before a turn (0: now), or after a step of that
// turn, in the same worktree. Result: SessionInfo.
struct SessionFork {
  static constexpr std::string_view kMethod = "session/fork";
  std::string session_id;
  std::int64_t before_turn = 0;
  std::int64_t after_step = 0;  // with before_turn: what its first steps brought, too
  std::string title;            // empty: the other's
};

// ---- prompts and turns

// `delivery`: "start"     begins a turn; busy when one runs.
//             "queue"     begins a turn when the running one and those queued before it have ended.
//             "steer"     is shown to the model after the next tool results of the running turn; if
//                         the turn ends before there are any, it becomes a turn of its own. Same as
//                         "start" when none runs.
//             "interrupt" cancels the running turn (what it did stays in the transcript), then
//                         begins a turn.
// `id` is chosen by the client (a UUID). The same id with the same content and mode returns the
// first result again and does nothing else, also after a restart of the daemon; with another:
// conflict. The answer comes when the prompt is on disk. `mode` holds for the turn that the prompt
// begins, whatever the session's is. A prompt with another mode than the running turn's does not
// steer it: it becomes a turn of its own.
struct PromptSend {
  static constexpr std::string_view kMethod = "prompt/send";
  std::string session_id, id, content;
  std::string delivery = "start";
  std::string mode;  // see SessionSettings; empty: the session's
  // steer, interrupt: only if this turn is the running one; 0: whichever
  std::int64_t expect_turn = 0;
};
struct PromptSendResult {
  std::string id;
  std::int64_t seq = 0;  // of its prompt/accepted
  // The turn it began or steers; 0 when it waits for a later one (turn/started names it)
  std::int64_t turn_id = 0;
};
// Takes back a prompt that nobody has answered: one that waits is never begun (prompt/withdrawn
// says so to all); if its turn runs, that turn is stopped as turn/interrupt would. One whose turn
// has ended, or that is not known, is left alone.
struct PromptWithdraw {
  static constexpr std::string_view kMethod = "prompt/withdraw";
  std::string session_id, id;
};
struct PromptWithdrawResult {
  bool withdrawn = false;    // it will never begin
  std::int64_t turn_id = 0;  // the turn that was stopped; 0 when none
};
// Stops the running turn: within one token, or one prefill chunk, or the kill of a command. -> the
// turn ends with "cancelled". What waits begins its turns then, unless it is withdrawn in the same
// moment (prompt/withdrawn says so to all): a person who stops a turn wants quiet.
struct TurnInterrupt {
  static constexpr std::string_view kMethod = "turn/interrupt";
  std::string session_id;
  std::int64_t turn_id = 0;  // 0: whichever runs
  bool withdraw = false;     // all prompts that wait, whoever sent them
};
struct TurnInterruptResult {
  std::int64_t turn_id = 0;  // the turn that was stopped; 0 when none ran (no error)
};
// Answers an ask_user call (a tool item with state "waiting"). First answer wins; later ones:
// not_found. -> {}
struct QuestionReply {
  static constexpr std::string_view kMethod = "question/reply";
  std::string session_id, item_id, text;
};

// Of what may run: see judge.h for patterns. verdict: allow | ask | deny; scope: turn | session |
// repository | user.
struct PermissionRule {
  std::string tool, pattern, verdict = "allow", scope = "session";
};
// Answers a call that asks (a tool item with state "asking"). First answer wins; later ones:
// not_found. With a scope other than "once" the answer becomes a rule for calls like it
// (Item::likes); where it has no likes, "once" is meant. -> {}
struct ApprovalReply {
  static constexpr std::string_view kMethod = "approval/reply";
  std::string session_id, item_id;
  std::string decision;        // allow | deny
  std::string scope = "once";  // once | turn | session | repository | user
  std::string message;         // of a denial: what the model reads with it
};
// Another policy, from the next call on. -> {}
struct SessionPolicy {
  static constexpr std::string_view kMethod = "session/policy";
  std::string session_id, policy;
};
// The user's rules and, with a root, its repository's.
struct RuleList {
  static constexpr std::string_view kMethod = "rule/list";
  std::string root;  // resolved as by repo/open
};
struct RuleListResult {
  std::vector<PermissionRule> rules;
};
// scope: repository | user. -> {}. Removing one that is not there: not_found.
struct RuleAdd {
  static constexpr std::string_view kMethod = "rule/add";
  std::string root;
  PermissionRule rule;
};
struct RuleRemove {
  static constexpr std::string_view kMethod = "rule/remove";
  std::string root;
  PermissionRule rule;
};

// ---- notifications of a subscribed session. Every one has sessionId, and t (Unix ms); durable
// ones seq.

struct Stamp {
  std::string session_id;
  std::int64_t seq = 0;  // 0 (absent on the wire): ephemeral
  std::int64_t t = 0;
};

// Durable. The first fact of every session.
struct SessionCreated {
  static constexpr std::string_view kNotification = "session/created";
  Stamp at{};
  SessionInfo session;
};
// Durable. Title or another property changed.
struct SessionUpdated {
  static constexpr std::string_view kNotification = "session/updated";
  Stamp at{};
  std::string title;
  std::string policy;  // empty: as it was
};
// Durable. A call that asked has its answer: allow | deny | unattended (nobody was there, and the
// session does not wait).
struct ApprovalResolved {
  static constexpr std::string_view kNotification = "approval/resolved";
  Stamp at{};
  std::string item_id, decision, scope;
  std::vector<PermissionRule> rules;  // that hold from now on
};
// Durable. Turns from turn_id on are no longer part of the session, until session/unrewound; what
// clients show of them is the past.
struct SessionRewound {
  static constexpr std::string_view kNotification = "session/rewound";
  Stamp at{};
  std::int64_t turn_id = 0;
  std::string undo;
  std::vector<RewindChange> changes;
};
struct SessionUnrewound {  // durable
  static constexpr std::string_view kNotification = "session/unrewound";
  Stamp at{};
  std::int64_t turn_id = 0;
  std::vector<RewindChange> changes;
};
struct SessionClosed {  // durable
  static constexpr std::string_view kNotification = "session/closed";
  Stamp at{};
};
// Ephemeral.
struct SessionState {
  static constexpr std::string_view kNotification = "session/state";
  Stamp at{};
  // idle | loading (waits for the model to load) | queued (for the engine) | prefill | decode |
  // tool | waiting (for an answer) | stopping (was interrupted)
  std::string state = "idle";
  std::int64_t turn_id = 0;
  int n_queued = 0;  // prompts waiting
};
// Durable. The prompt will be delivered, come what may.
struct PromptAccepted {
  static constexpr std::string_view kNotification = "prompt/accepted";
  Stamp at{};
  std::string id, content, delivery;
  std::string mode;  // as it was sent
};
struct PromptWithdrawn {  // durable
  static constexpr std::string_view kNotification = "prompt/withdrawn";
  Stamp at{};
  std::string id;
};
struct TurnStarted {  // durable
  static constexpr std::string_view kNotification = "turn/started";
  Stamp at{};
  std::int64_t turn_id = 0;
  std::string prompt_id;
};
// Ephemeral, at most ten a second and once at the end: evaluation of new prompt tokens.
struct TurnPrefill {
  static constexpr std::string_view kNotification = "turn/prefill";
  Stamp at{};
  std::int64_t turn_id = 0, step = 0;
  // Tokens to evaluate in this step; what is cached is not counted
  std::int64_t done = 0, total = 0;
};

struct Usage {
  std::int64_t steps = 0;
  std::int64_t prompt = 0;     // tokens of the context when the (last) step began
  std::int64_t cached = 0;     // of all steps' prompts: tokens that were not evaluated again
  std::int64_t prefilled = 0;  // tokens evaluated: the tokens new in the turn
  std::int64_t generated = 0;  // tokens sampled, of them ...
  std::int64_t thinking = 0;   // ... reasoning
  std::int64_t context = 0, context_max = 0;  // the transcript now, and what fits
  // wait: for the model or the engine
  std::int64_t prefill_ms = 0, decode_ms = 0, tool_ms = 0, wait_ms = 0, total_ms = 0;
};
// Durable. One answer of the model is complete; its tool calls, if any, run next.
struct TurnStep {
  static constexpr std::string_view kNotification = "turn/step";
  Stamp at{};
  std::int64_t turn_id = 0, step = 0;
  std::string reason;  // end | calls | max_tokens | cancelled | context_full | repetition | error
  Usage usage;         // of this step
};
// Durable. reason: end_turn | max_tokens (a step hit its limit) | max_steps | cancelled |
// context_full | repetition | unfinished (it was checked, and sent back as often as may be) | error
// | crashed (the daemon died during the turn; written when it loads the session again).
struct TurnEnded {
  static constexpr std::string_view kNotification = "turn/ended";
  Stamp at{};
  std::int64_t turn_id = 0;
  std::string reason;
  std::string message;  // one line for people when reason is not end_turn or cancelled
  Usage usage;          // of the turn
};

struct FileChange {
  std::string path, diff;  // relative to the root; unified diff, empty for binary files
  // Names of the contents, equal where they are; "none" where there is no file; empty: not told
  std::string before, after;
  std::string shown;  // of `after` as the model is shown it: without byte order mark and carriage
                      // returns
};

struct Item {
  std::string id;  // "3.2": turn 3, its second item
  std::int64_t turn_id = 0;
  std::string kind;  // user | think | text | tool | error | note
  // All kinds but tool. note: something the daemon did or told the model (a reminder, a forced
  // </think>)
  std::string text;
  std::string prompt_id;    // user
  std::int64_t tokens = 0;  // think, text, tool: sampled for it, about

  // tool
  std::string name;
  std::string arguments;  // JSON text of an object, keys in the order the model wrote them
  // writing | asking (see approval/reply) | running | waiting | done | failed | rejected (never
  // ran: malformed or cut off) | denied (never ran) | cancelled | interrupted (the daemon died
  // meanwhile, outcome unknown)
  std::string state;
  std::string why;    // asking, denied: in one line
  // asking: patterns of the rules that an answer for more than once would make; none: none
  std::vector<std::string> likes;
  std::string output;  // what the model reads of it
  std::int64_t elapsed_ms = 0;
  std::int64_t began_ms = 0;  // in snapshots: since when it is what it is, Unix time
  std::vector<FileChange> changes;
  // A command, or alike: `changes` are what its snapshots showed, or none if that is not known
  bool changes_untold = false;
  // Of the worktree before it ran and, where its changes are untold, after; empty: none was taken
  std::string snapshot, snapshot_after;
};
struct ItemStarted {  // ephemeral
  static constexpr std::string_view kNotification = "item/started";
  Stamp at{};
  Item item;
};
// Ephemeral. Append `text` to `field` at byte offset `off`. A slow client (outbox above half) loses
// deltas: it later gets an item/snapshot with resync true. A client that reads nothing for
// kStuckMsMax or whose outbox overflows gets connection/evicted and is disconnected.
struct ItemDelta {
  static constexpr std::string_view kNotification = "item/delta";
  Stamp at{};
  std::int64_t turn_id = 0;
  std::string item_id;
  std::string field;  // "text" | "arguments" | "output" (live output of a command; not what the
                      // model reads in the end)
  std::int64_t off = 0;
  std::string text;
  std::int64_t tokens = 0;  // sampled so far in this step, for rates
};
struct ItemUpdated {  // durable: a tool's state is now "running" (or "waiting")
  static constexpr std::string_view kNotification = "item/updated";
  Stamp at{};
  Item item;
};
struct ItemCompleted {  // durable
  static constexpr std::string_view kNotification = "item/completed";
  Stamp at{};
  Item item;
};
struct ItemSnapshot {  // ephemeral: the whole open item as it is now
  static constexpr std::string_view kNotification = "item/snapshot";
  Stamp at{};
  Item item;
  bool resync = false;
};
// To one connection, just before it is closed.
struct ConnectionEvicted {
  static constexpr std::string_view kNotification = "connection/evicted";
  std::string why;
};

}  // namespace lares::daemon::protocol
