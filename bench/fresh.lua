-- Every request asks for a shopper nobody asked for before.
local base, number = 0, 0
local threads = 0
function setup(thread)
  thread:set("base", threads * 100000000)
  threads = threads + 1
end
function init(args)
  number = 0
end
function request()
  number = number + 1
  local id = base + number
  local body = '{"placement":"pdp","user_id":"u' .. id .. '","session_id":"s' .. id .. '","attributes":{"country":"DE"}}'
  return wrk.format("POST", "/v1/assign", {["Content-Type"] = "application/json"}, body)
end
function done(summary, latency)
  local wrong = summary.errors.status + summary.errors.read + summary.errors.write + summary.errors.timeout
  print(string.format("RESULT %d %d %d %d %d %d %d", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9), latency.max, wrong))
end
