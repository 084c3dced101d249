-- For wrk: a steady stream of signed deliveries, each with an id of its own, and the outcome as one line.
--   wrk -t THREADS ... -s load.lua URL -- FILE RATE      FILE: lines of "signature<TAB>body"; RATE: a second, of all threads
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long s; long ns; } moment; int clock_gettime(int clock, moment *at); ]]

local monotonic = 1 -- CLOCK_MONOTONIC of time.h
local at = ffi.new("moment")
local function milliseconds()
  ffi.C.clock_gettime(monotonic, at)
  return tonumber(at.s) * 1000 + tonumber(at.ns) / 1000000
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

local deliveries, sent, due, between, run = {}, 0, nil, nil, nil

function init(arguments)
  for line in io.lines(arguments[1]) do
    local signature, body = line:match("^([^\t]+)\t(.+)$")
    table.insert(deliveries, { signature = signature, body = body })
  end
  run = math.floor(milliseconds()) % 4096
  between = 1000 / (tonumber(arguments[2]) / tonumber(arguments[3]))
end

-- The stream keeps its schedule: what was late is not made up for by sending less.
function delay()
  local now = milliseconds()
  due = (due or now) + between
  return math.max(0, math.floor(due - now))
end

function request()
  sent = sent + 1
  local delivery = deliveries[sent % #deliveries + 1]
  return wrk.format("POST", nil, {
    ["Content-Type"] = "application/json", ["X-GitHub-Event"] = "workflow_job", ["X-Hub-Signature-256"] = delivery.signature,
    ["X-GitHub-Delivery"] = string.format("%08x-0000-4000-8%03x-%012x", number, run, sent),
  }, delivery.body)
end

function done(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("result %d %d %d %d %d\n", summary.requests, failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
