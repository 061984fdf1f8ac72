-- Every request asks for a shopper nobody asked for before. `traced` behind wrk's own arguments: it also has the
-- headers of a client library, and a trace id that nobody sent before. `edge`: it is Unleash Edge that is asked. `ofrep`:
-- the same placement is evaluated as a flag, alone; `flags`: all flags are. The word behind that is a pause between two requests of a connection, in milliseconds.
local base, number, traced, edge, flag, pause = 0, 0, false, false, nil, 0
local flags = {ofrep = "/ofrep/v1/evaluate/flags/pdp", flags = "/ofrep/v1/evaluate/flags"}
local token = "*:development.0123456789abcdef0123456789abcdef0123456789abcdef01234567"
local threads = 0
function setup(thread)
  thread:set("base", threads * 100000000)
  threads = threads + 1
end
function init(args)
  number, traced, edge, pause = 0, args[1] == "traced", args[1] == "edge", tonumber(args[2] or "0")
  flag = flags[args[1]]
  if pause > 0 then
    delay = function() return pause end
  end
end
function request()
  number = number + 1
  local id = base + number
  if edge then
    local context = '{"userId":"u' .. id .. '","sessionId":"s' .. id .. '","properties":{"country":"DE"}}'
    return wrk.format("POST", "/api/frontend", {["Content-Type"] = "application/json", ["Authorization"] = token}, context)
  end
  if flag then
    local context = '{"context":{"targetingKey":"u' .. id .. '","session_id":"s' .. id .. '","country":"DE"}}'
    return wrk.format("POST", flag, {["Content-Type"] = "application/json"}, context)
  end
  local body = '{"placement":"pdp","user_id":"u' .. id .. '","session_id":"s' .. id .. '","attributes":{"country":"DE"}}'
  local headers = {["Content-Type"] = "application/json"}
  if traced then
    headers["Accept"] = "*/*"
    headers["Accept-Encoding"] = "gzip, deflate"
    headers["User-Agent"] = "python-httpx/0.28.1"
    headers["traceparent"] = string.format("00-%032x-%016x-01", id, id)
  end
  return wrk.format("POST", "/v1/assign", headers, body)
end
function done(summary, latency)
  local wrong = summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout
  print(string.format("RESULT %d %d %d %d %d %d %d", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9), latency.max, wrong))
end
