// Every protocol type's fields and their JSON names; wire.h reads and writes by them.
#pragma once

#include "daemon/protocol/protocol.h"

namespace lares::daemon::protocol {

// One overload per type lists its fields once, for both directions. r: required when reading; o:
// may be absent.
template <class V>
void fields(V&, Nothing&) {}
template <class V>
void fields(V&, Ping&) {}
template <class V>
void fields(V&, ServerStatus&) {}
template <class V>
void fields(V&, PromptHead&) {}
template <class V>
void fields(V& v, Initialize& x) {
  v.r("protocol", x.protocol);
  v.o("role", x.role);
  v.o("client", x.client);
}
template <class V>
void fields(V& v, InitializeResult& x) {
  v.r("protocol", x.protocol);
  v.r("server", x.server);
  v.r("daemonId", x.daemon_id);
  v.r("bootId", x.boot_id);
  v.r("pid", x.pid);
  v.r("stateDir", x.state_dir);
  v.r("socket", x.socket);
  v.o("capabilities", x.capabilities);
  v.o("lineBytesMax", x.line_bytes_max);
  v.o("outstandingMax", x.outstanding_max);
  v.o("outboxBytesMax", x.outbox_bytes_max);
}
template <class V>
void fields(V& v, ModelStatus& x) {
  v.o("directory", x.directory);
  v.o("modelType", x.model_type);
  v.o("nLayers", x.n_layers);
  v.o("vocabSize", x.vocab_size);
  v.o("nContextMax", x.n_context_max);
  v.o("weightBytes", x.weight_bytes);
  v.o("nParameters", x.n_parameters);
}
template <class V>
void fields(V& v, ExpertStatus& x) {
  v.o("bytes", x.bytes);
  v.o("bytesMax", x.bytes_max);
  v.o("resident", x.resident);
  v.o("read", x.read);
  v.o("found", x.found);
  v.o("missed", x.missed);
  v.o("remembered", x.remembered);
  v.o("ahead", x.ahead);
  v.o("unkept", x.unkept);
}
template <class V>
void fields(V& v, SequenceStatus& x) {
  v.o("bytes", x.bytes);
  v.o("bytesMax", x.bytes_max);
  v.o("most", x.most);
  v.o("n", x.n);
  v.o("parked", x.parked);
  v.o("evicted", x.evicted);
  v.o("refused", x.refused);
}
template <class V>
void fields(V& v, ServerState& x) {
  v.r("state", x.state);
  v.o("done", x.done);
  v.o("total", x.total);
  v.o("message", x.message);
}
template <class V>
void fields(V& v, PrefixFile& x) {
  v.r("path", x.path);
  v.r("state", x.state);
  v.o("reason", x.reason);
  v.o("tier", x.tier);
  v.o("nTokens", x.n_tokens);
}
template <class V>
void fields(V& v, RepoPrefixResult& x) {
  v.r("root", x.root);
  v.o("epoch", x.epoch);
  v.o("version", x.version);
  v.o("looking", x.looking);
  v.o("baseTokens", x.base_tokens);
  v.o("evaluated", x.evaluated);
  v.o("tokensMax", x.tokens_max);
  v.o("overlayTokens", x.overlay_tokens);
  v.o("overlayTokensMax", x.overlay_tokens_max);
  v.o("nHidden", x.n_hidden);
  v.o("overlayEvaluated", x.overlay_evaluated);
  v.o("nextTokens", x.next_tokens);
  v.o("nextEvaluated", x.next_evaluated);
  v.o("tokensPerS", x.tokens_per_s);
  v.o("pageBytes", x.page_bytes);
  v.o("diskBytes", x.disk_bytes);
  v.o("diskTokens", x.disk_tokens);
  v.o("scrubbing", x.scrubbing);
  v.o("scrubbed", x.scrubbed);
  v.o("scrubFound", x.scrub_found);
  v.o("foundTokens", x.found_tokens);
  v.o("prefilledTokens", x.prefilled_tokens);
  v.o("files", x.files);
  v.o("leftOut", x.left_out);
}
template <class V>
void fields(V& v, ServerStatusResult& x) {
  v.r("engine", x.engine);
  v.r("model", x.model);
  v.r("version", x.version);
  v.r("socket", x.socket);
  v.r("stateDir", x.state_dir);
  v.o("http", x.http);
  v.r("pid", x.pid);
  v.r("uptimeMs", x.uptime_ms);
  v.r("nClients", x.n_clients);
  v.r("nSessions", x.n_sessions);
  v.r("nRunning", x.n_running);
  v.r("nQueued", x.n_queued);
  v.o("shell", x.shell);
  v.o("experts", x.experts);
  v.o("sequences", x.sequences);
  v.o("prefixes", x.prefixes);
}
template <class V>
void fields(V& v, ServerShutdown& x) {
  v.o("when", x.when);
}
template <class V>
void fields(V& v, PromptHeadResult& x) {
  v.r("text", x.text);
}
template <class V>
void fields(V& v, SkippedFile& x) {
  v.r("path", x.path);
  v.r("why", x.why);
}
template <class V>
void fields(V& v, RepoOpen& x) {
  v.r("root", x.root);
}
template <class V>
void fields(V& v, RepoOpenResult& x) {
  v.r("root", x.root);
  v.r("git", x.git);
}
template <class V>
void fields(V& v, RepoScrub& x) {
  v.r("root", x.root);
}
template <class V>
void fields(V& v, RepoPrefix& x) {
  v.r("root", x.root);
  v.o("files", x.files);
}
template <class V>
void fields(V& v, PermissionRule& x) {
  v.r("tool", x.tool);
  v.r("pattern", x.pattern);
  v.o("verdict", x.verdict);
  v.o("scope", x.scope);
}
template <class V>
void fields(V& v, SessionSettings& x) {
  v.o("mode", x.mode);
  v.o("temperature", x.temperature);
  v.o("topP", x.top_p);
  v.o("seed", x.seed);
  v.o("stepsMax", x.steps_max);
  v.o("stepTokensMax", x.step_tokens_max);
  v.o("thinkTokensMax", x.think_tokens_max);
  v.o("noSandbox", x.no_sandbox);
  v.o("policy", x.policy);
  v.o("unattended", x.unattended);
  v.o("untilTestsPass", x.until_tests_pass);
  v.o("answerSchema", x.answer_schema);
}
template <class V>
void fields(V& v, RewindChange& x) {
  v.r("path", x.path);
  v.r("kind", x.kind);
  v.o("others", x.others);
}
template <class V>
void fields(V& v, SessionRewind& x) {
  v.r("sessionId", x.session_id);
  v.o("turnId", x.turn_id);
  v.o("files", x.files);
  v.o("dryRun", x.dry_run);
}
template <class V>
void fields(V& v, SessionRewindResult& x) {
  v.r("turnId", x.turn_id);
  v.o("changes", x.changes);
  v.o("notDone", x.not_done);
  v.o("undo", x.undo);
}
template <class V>
void fields(V& v, SessionUnrewind& x) {
  v.r("sessionId", x.session_id);
}
template <class V>
void fields(V& v, SessionFork& x) {
  v.r("sessionId", x.session_id);
  v.o("beforeTurn", x.before_turn);
  v.o("afterStep", x.after_step);
  v.o("title", x.title);
}
template <class V>
void fields(V& v, SessionCreate& x) {
  v.r("root", x.root);
  v.o("title", x.title);
  v.o("settings", x.settings);
}
template <class V>
void fields(V& v, SessionInfo& x) {
  v.r("sessionId", x.session_id);
  v.r("root", x.root);
  v.o("title", x.title);
  v.o("state", x.state);
  v.o("closed", x.closed);
  v.o("createdMs", x.created_ms);
  v.o("updatedMs", x.updated_ms);
  v.o("lastSeq", x.last_seq);
  v.o("nTurns", x.n_turns);
  v.o("turnId", x.turn_id);
  v.o("turnBeganMs", x.turn_began_ms);
  v.o("contextTokens", x.context_tokens);
  v.o("settings", x.settings);
}
template <class V>
void fields(V& v, SessionList& x) {
  v.o("root", x.root);
  v.o("closed", x.closed);
  v.o("worktrees", x.worktrees);
}
template <class V>
void fields(V& v, SessionListResult& x) {
  v.r("sessions", x.sessions);
}
template <class V>
void fields(V& v, SessionGet& x) {
  v.r("sessionId", x.session_id);
}
template <class V>
void fields(V& v, SessionClose& x) {
  v.r("sessionId", x.session_id);
}
template <class V>
void fields(V& v, SessionSubscribe& x) {
  v.r("sessionId", x.session_id);
  v.o("after", x.after);
  v.o("interactive", x.interactive);
}
template <class V>
void fields(V& v, SessionSubscribeResult& x) {
  v.r("session", x.session);
  v.r("replayTo", x.replay_to);
}
template <class V>
void fields(V& v, SessionUnsubscribe& x) {
  v.r("sessionId", x.session_id);
}
template <class V>
void fields(V& v, SessionHistory& x) {
  v.r("sessionId", x.session_id);
  v.o("after", x.after);
  v.o("limit", x.limit);
}
template <class V>
void fields(V& v, PromptSend& x) {
  v.r("sessionId", x.session_id);
  v.r("id", x.id);
  v.r("content", x.content);
  v.o("delivery", x.delivery);
  v.o("mode", x.mode);
  v.o("expectTurn", x.expect_turn);
}
template <class V>
void fields(V& v, PromptSendResult& x) {
  v.r("id", x.id);
  v.r("seq", x.seq);
  v.o("turnId", x.turn_id);
}
template <class V>
void fields(V& v, PromptWithdraw& x) {
  v.r("sessionId", x.session_id);
  v.r("id", x.id);
}
template <class V>
void fields(V& v, PromptWithdrawResult& x) {
  v.o("withdrawn", x.withdrawn);
  v.o("turnId", x.turn_id);
}
template <class V>
void fields(V& v, TurnInterrupt& x) {
  v.r("sessionId", x.session_id);
  v.o("turnId", x.turn_id);
  v.o("withdraw", x.withdraw);
}
template <class V>
void fields(V& v, TurnInterruptResult& x) {
  v.o("turnId", x.turn_id);
}
template <class V>
void fields(V& v, ApprovalReply& x) {
  v.r("sessionId", x.session_id);
  v.r("itemId", x.item_id);
  v.r("decision", x.decision);
  v.o("scope", x.scope);
  v.o("message", x.message);
}
template <class V>
void fields(V& v, SessionPolicy& x) {
  v.r("sessionId", x.session_id);
  v.r("policy", x.policy);
}
template <class V>
void fields(V& v, RuleList& x) {
  v.o("root", x.root);
}
template <class V>
void fields(V& v, RuleListResult& x) {
  v.o("rules", x.rules);
}
template <class V>
void fields(V& v, RuleAdd& x) {
  v.o("root", x.root);
  v.r("rule", x.rule);
}
template <class V>
void fields(V& v, RuleRemove& x) {
  v.o("root", x.root);
  v.r("rule", x.rule);
}
template <class V>
void fields(V& v, QuestionReply& x) {
  v.r("sessionId", x.session_id);
  v.r("itemId", x.item_id);
  v.r("text", x.text);
}
// A stamp's three fields lie flat among the notification's own.
template <class V>
void fields(V& v, Stamp& x) {
  v.r("sessionId", x.session_id);
  v.o("seq", x.seq);
  v.o("t", x.t);
}
template <class V>
void fields(V& v, SessionCreated& x) {
  fields(v, x.at);
  v.r("session", x.session);
}
template <class V>
void fields(V& v, SessionUpdated& x) {
  fields(v, x.at);
  v.o("title", x.title);
  v.o("policy", x.policy);
}
template <class V>
void fields(V& v, ApprovalResolved& x) {
  fields(v, x.at);
  v.r("itemId", x.item_id);
  v.r("decision", x.decision);
  v.o("scope", x.scope);
  v.o("rules", x.rules);
}
template <class V>
void fields(V& v, SessionRewound& x) {
  fields(v, x.at);
  v.r("turnId", x.turn_id);
  v.o("undo", x.undo);
  v.o("changes", x.changes);
}
template <class V>
void fields(V& v, SessionUnrewound& x) {
  fields(v, x.at);
  v.r("turnId", x.turn_id);
  v.o("changes", x.changes);
}
template <class V>
void fields(V& v, SessionClosed& x) {
  fields(v, x.at);
}
template <class V>
void fields(V& v, SessionState& x) {
  fields(v, x.at);
  v.r("state", x.state);
  v.o("turnId", x.turn_id);
  v.o("nQueued", x.n_queued);
}
template <class V>
void fields(V& v, PromptAccepted& x) {
  fields(v, x.at);
  v.r("id", x.id);
  v.r("content", x.content);
  v.r("delivery", x.delivery);
  v.o("mode", x.mode);
}
template <class V>
void fields(V& v, PromptWithdrawn& x) {
  fields(v, x.at);
  v.r("id", x.id);
}
template <class V>
void fields(V& v, TurnStarted& x) {
  fields(v, x.at);
  v.r("turnId", x.turn_id);
  v.o("promptId", x.prompt_id);
}
template <class V>
void fields(V& v, TurnPrefill& x) {
  fields(v, x.at);
  v.r("turnId", x.turn_id);
  v.o("step", x.step);
  v.r("done", x.done);
  v.r("total", x.total);
}
template <class V>
void fields(V& v, Usage& x) {
  v.o("steps", x.steps);
  v.o("prompt", x.prompt);
  v.o("cached", x.cached);
  v.o("prefilled", x.prefilled);
  v.o("generated", x.generated);
  v.o("thinking", x.thinking);
  v.o("context", x.context);
  v.o("contextMax", x.context_max);
  v.o("prefillMs", x.prefill_ms);
  v.o("decodeMs", x.decode_ms);
  v.o("toolMs", x.tool_ms);
  v.o("waitMs", x.wait_ms);
  v.o("totalMs", x.total_ms);
}
template <class V>
void fields(V& v, TurnStep& x) {
  fields(v, x.at);
  v.r("turnId", x.turn_id);
  v.r("step", x.step);
  v.r("reason", x.reason);
  v.o("usage", x.usage);
}
template <class V>
void fields(V& v, TurnEnded& x) {
  fields(v, x.at);
  v.r("turnId", x.turn_id);
  v.r("reason", x.reason);
  v.o("message", x.message);
  v.o("usage", x.usage);
}
template <class V>
void fields(V& v, FileChange& x) {
  v.r("path", x.path);
  v.o("diff", x.diff);
  v.o("before", x.before);
  v.o("after", x.after);
  v.o("shown", x.shown);
}
template <class V>
void fields(V& v, Item& x) {
  v.r("id", x.id);
  v.o("turnId", x.turn_id);
  v.r("kind", x.kind);
  v.o("text", x.text);
  v.o("promptId", x.prompt_id);
  v.o("tokens", x.tokens);
  v.o("name", x.name);
  v.o("arguments", x.arguments);
  v.o("state", x.state);
  v.o("output", x.output);
  v.o("elapsedMs", x.elapsed_ms);
  v.o("beganMs", x.began_ms);
  v.o("changes", x.changes);
  v.o("changesUntold", x.changes_untold);
  v.o("why", x.why);
  v.o("likes", x.likes);
  v.o("snapshot", x.snapshot);
  v.o("snapshotAfter", x.snapshot_after);
}
template <class V>
void fields(V& v, ItemStarted& x) {
  fields(v, x.at);
  v.r("item", x.item);
}
template <class V>
void fields(V& v, ItemDelta& x) {
  fields(v, x.at);
  v.o("turnId", x.turn_id);
  v.r("itemId", x.item_id);
  v.r("field", x.field);
  v.r("off", x.off);
  v.r("text", x.text);
  v.o("tokens", x.tokens);
}
template <class V>
void fields(V& v, ItemUpdated& x) {
  fields(v, x.at);
  v.r("item", x.item);
}
template <class V>
void fields(V& v, ItemCompleted& x) {
  fields(v, x.at);
  v.r("item", x.item);
}
template <class V>
void fields(V& v, ItemSnapshot& x) {
  fields(v, x.at);
  v.r("item", x.item);
  v.o("resync", x.resync);
}
template <class V>
void fields(V& v, ConnectionEvicted& x) {
  v.r("why", x.why);
}

}  // namespace lares::daemon::protocol
