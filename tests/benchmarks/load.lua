-- wrk's side of door.py: sends the signed bodies of a file, one line "signature body" each, and tells what came back as JSON.
-- Arguments after --: the file, the path

local file, head

function init(arguments)
  file = assert(io.open(arguments[1], "rb"))
  head = "POST " .. arguments[2] .. " HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: ZohoBooks\r\nAccept: */*\r\n"
    .. "Content-Type: application/json\r\nX-Com-Zoho-Organizationid: 60069194202\r\nX-Forwarded-For: 136.143.188.1\r\n"
    .. "X-Zoho-Webhook-Signature: "
end

function request()
  local line = file:read("*l")
  if not line then
    file:seek("set")
    line = file:read("*l")
  end
  local body = string.sub(line, 66)
  return head .. string.sub(line, 1, 64) .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "not_2xx": %d, "broken": %d, "p50": %.3f, "p99": %.3f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
