-- A conversation with Lares in a Neovim buffer, straight over the daemon's Unix socket: newline-delimited JSON-RPC, nothing else needed.
--
--   :luafile lares.lua
--   :Lares the date parser rejects leap days; fix it      begins a turn, or tells the one that runs
--   :LaresStop                                            stops it
--
-- An example to begin with. For a whole client, `lares acp` serves CodeCompanion, avante and every other ACP client.
-- Works from Neovim 0.7 on. The daemon must run: any `lares` command starts it.
local uv = vim.uv or vim.loop
local M = {}

local pipe, buffer, session, root
local last_id, waiting, inbox = 0, {}, ""

-- Where the daemon listens unless told otherwise; `lares status` names it.
local function socket_path()
  if vim.env.LARES_SOCKET then return vim.env.LARES_SOCKET end
  if vim.env.XDG_RUNTIME_DIR then return vim.env.XDG_RUNTIME_DIR .. "/lares/lares.sock" end
  return string.format("/tmp/lares-%d/lares.sock", uv.getuid())
end

-- Adds text behind the last character of the buffer.
local function append(text)
  if not (buffer and vim.api.nvim_buf_is_valid(buffer)) then
    buffer = vim.api.nvim_create_buf(true, true)
    vim.api.nvim_buf_set_name(buffer, "lares://session")
    vim.bo[buffer].filetype = "markdown"
  end
  local last = vim.api.nvim_buf_line_count(buffer) - 1
  local column = #vim.api.nvim_buf_get_lines(buffer, last, last + 1, true)[1]
  vim.api.nvim_buf_set_text(buffer, last, column, last, column, vim.split(text, "\n", { plain = true }))
end

-- Asks the daemon; `answered(result, error)` comes back later.
local function call(method, params, answered)
  last_id = last_id + 1
  waiting[last_id] = answered
  pipe:write(vim.json.encode({ jsonrpc = "2.0", id = last_id, method = method, params = params }) .. "\n")
end

-- The loaded buffer of a file of the repository; nil: there is none. By its name: bufnr() would take "[id].tsx" for a pattern.
local function buffer_of(path)
  for _, held in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(held) and vim.api.nvim_buf_get_name(held) == root .. "/" .. path then return held end
  end
end

-- Loaded buffers show what was edited.
local function reload(changes)
  for _, change in ipairs(changes or {}) do
    local edited = buffer_of(change.path)
    if edited then vim.api.nvim_buf_call(edited, function() vim.cmd("checktime") end) end
  end
end

-- A tool is about to read a file, or to change it: it is to see what stands here and is not saved, and to change nothing that is not.
local function tell_overlay(wanted)
  local held, text = buffer_of(wanted.path), nil
  if held and vim.bo[held].modified and wanted.save then
    pcall(vim.api.nvim_buf_call, held, function() vim.cmd("silent write") end)
  end
  if held and vim.bo[held].modified then
    text = table.concat(vim.api.nvim_buf_get_lines(held, 0, -1, true), "\n") .. (vim.bo[held].endofline and "\n" or "")
  end
  call("session/overlay", { sessionId = session, path = wanted.path, text = text })
end

-- What a subscribed session tells. Deltas make the text live; a whole item replaces them for clients that need it exact.
local on = {
  ["item/started"] = function(p)
    if p.item.kind == "text" or p.item.kind == "think" then append("\n") end
  end,
  ["item/delta"] = function(p)
    if p.field == "text" then append(p.text) end
  end,
  ["item/updated"] = function(p) append(string.format("\n> %s %s\n", p.item.name, p.item.arguments)) end,
  ["item/completed"] = function(p)
    if p.item.kind == "user" then append("\n# " .. p.item.text .. "\n") end
    if p.item.kind == "error" or p.item.kind == "note" then append("\n> " .. p.item.text .. "\n") end
    if p.item.kind == "tool" then reload(p.item.changes) end
  end,
  ["session/overlay_wanted"] = tell_overlay,
  ["prompt/withdrawn"] = function() append("\n> what waited was taken back\n") end,
  ["turn/ended"] = function(p)
    append(string.format("\n> %s %s\n", p.reason, p.message or ""))
    M.ended = p.reason
  end,
}

local function hear(line)
  local message = vim.json.decode(line)
  if message.method then
    if on[message.method] then on[message.method](message.params) end
    return
  end
  local answered = waiting[message.id]
  waiting[message.id] = nil
  if message.error then append("\n> " .. message.error.message .. "\n") end
  if answered and not message.error then answered(message.result) end
end

local function read(failed, data)
  if failed or not data then
    pipe:close()
    pipe, session, inbox = nil, nil, ""
    append("\n> the daemon hung up; the session goes on when it is back: :Lares again\n")
    return
  end
  inbox = inbox .. data
  for line in inbox:gmatch("([^\n]*)\n") do
    hear(line)
  end
  inbox = inbox:match("[^\n]*$")
end

local function send(text)
  local id = string.format("nvim-%d-%d", uv.getpid(), uv.hrtime()) -- the same id twice would be the same prompt
  call("prompt/send", { sessionId = session, id = id, content = text, delivery = "steer" })
end

local function begin(text)
  call("initialize", { protocol = 1, role = "control", client = "lares.lua" }, function()
    call("session/create", { root = vim.fn.getcwd() }, function(created)
      session, root = created.sessionId, created.root
      call("session/subscribe", { sessionId = session, after = created.lastSeq or 0 }, function()
        call("session/hold_files", { sessionId = session })
        send(text)
      end)
    end)
  end)
end

function M.prompt(text)
  append("")
  vim.api.nvim_win_set_buf(0, buffer)
  M.ended = nil
  if session then return send(text) end
  pipe = uv.new_pipe(false)
  pipe:connect(socket_path(), function(failed)
    vim.schedule(function()
      if failed then return append("\n> connect to " .. socket_path() .. ": " .. failed .. "; start it: lares status, lares run\n") end
      pipe:read_start(function(ec, data) vim.schedule(function() read(ec, data) end) end)
      begin(text)
    end)
  end)
end

function M.stop()
  if session then call("turn/interrupt", { sessionId = session, withdraw = true }) end
end

vim.api.nvim_create_user_command("Lares", function(c) M.prompt(c.args) end, { nargs = "+" })
vim.api.nvim_create_user_command("LaresStop", M.stop, {})
return M
