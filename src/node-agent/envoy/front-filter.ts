import { HEADER } from "../../protocol/headers.ts";
import { INTERNAL_REQUEST_NAMES, INTERNAL_REQUEST_PREFIXES, SINGLE_VALUED_CORS } from "../../policy/header-names.ts";
import { HOP_BY_HOP, WEBSOCKET_HANDSHAKE } from "../../policy/hop-by-hop.ts";
import { LIMITS } from "../limits.ts";
import { FALLBACK_KEY, TO_NODE } from "./render-front.ts";
import { SCOPE_HEADER, TENANT_HEADER, VIA_HEADER } from "./names.ts";

/** The visitor's own X-Request-Id, while Envoy's stands in its place. */
export const VISITOR_ID_HEADER = "x-edge-visitor-id";

/**
 * A master's filter (Lua in Envoy). Every request begins in the fallback scope, whose only route leads to the edge. Only one that leaves no
 * doubt gets its host's scope, and only when that has an open route for it are its fields made what a node's services may see: the same that
 * the edge makes of them (policy/headers.ts). An error of the script leaves, or puts back, the request on its way to the edge.
 *
 * In doubt are: paths in which anything is encoded, empty, hidden or climbs, since a service may read them as another route's (policy/route.ts);
 * hosts that are not literally names; what names fields in Connection; service tokens.
 */
export const frontFilter = (scheme: "http" | "https"): string => `
local PREFIXES = ${list(INTERNAL_REQUEST_PREFIXES)}
local NAMES = ${set([...INTERNAL_REQUEST_NAMES, ...HOP_BY_HOP])}
local HANDSHAKE = ${set(WEBSOCKET_HANDSHAKE)}
local SINGLE = ${set(SINGLE_VALUED_CORS)}
local TRACE = "^00%-" .. string.rep("%x", 32) .. "%-" .. string.rep("%x", 16) .. "%-%x%x$"

local function trim(text) return (string.gsub(text, "^%s*(.-)%s*$", "%1")) end

local function is_own_cookie(name)
  name = string.gsub(name, "^__Host%-", "")
  return name == "causeway" or string.sub(name, 1, 9) == "causeway-"
end

local function without_own_cookies(value)
  local kept = {}
  for pair in string.gmatch(value, "[^;]+") do
    local name = string.match(pair, "^([^=]*)")
    if not is_own_cookie(trim(name)) then kept[#kept + 1] = pair end
  end
  return trim(table.concat(kept, ";"))
end

local function is_plain(path)
  if path == nil or #path > ${LIMITS.frontPathBytes} then return false end
  local before = string.match(path, "^[^?]*")
  return string.sub(before, 1, 1) == "/" and not string.find(before, "[^%w_.~@:+,=!$&'()*/-]")
    and not string.find(before, "//", 1, true) and not string.find(before, "/.", 1, true)
end

local function host_of(authority)
  local name, port = string.match(string.lower(authority or ""), "^([%w.-]+):?(%d*)$")
  if name == nil or #port > 5 then return nil end
  return (string.gsub(name, "%.$", "")), port
end

local function is_in_doubt(headers)
  local connection = string.lower(headers:get("connection") or "")
  for token in string.gmatch(connection, "[^,]+") do
    token = trim(token)
    if token ~= "" and token ~= "close" and not NAMES[token] then return true end
  end
  local method = headers:get(":method")
  local length = headers:get("content-length")
  if (method == "GET" or method == "HEAD") and length ~= nil and length ~= "0" then return true end
  return string.find(string.lower(headers:get("authorization") or ""), "^bearer +cst_") ~= nil
end

-- What becomes of a field by its name: true when it ends here.
local function is_dropped(name, is_websocket)
  local read = string.gsub(name, "[^%w]", "-")
  if HANDSHAKE[read] then return not is_websocket end
  if NAMES[read] then return not (is_websocket and (name == "connection" or name == "upgrade")) end
  if read == "content-length" then return name ~= read end
  for _, prefix in ipairs(PREFIXES) do
    if string.sub(read, 1, #prefix) == prefix then return true end
  end
  return false
end

local function make_clean(headers)
  local is_websocket = string.lower(headers:get("upgrade") or "") == "websocket"
  local wants_trailers = headers:get("te") == "trailers"
  local doomed, cookies, had_own = {}, {}, false
  for name, value in pairs(headers) do
    if string.sub(name, 1, 1) ~= ":" then
      if name == "cookie" then
        local kept = without_own_cookies(value)
        had_own = had_own or kept ~= trim(value)
        if kept ~= "" then cookies[#cookies + 1] = kept end
      elseif is_dropped(name, is_websocket) then doomed[#doomed + 1] = name end
    end
  end
  for _, name in ipairs(doomed) do headers:remove(name) end
  if wants_trailers then headers:add("te", "trailers") end
  if had_own then
    headers:remove("cookie")
    for _, cookie in ipairs(cookies) do headers:add("cookie", cookie) end
  end
end

local function write_forwarding(headers, id, client, authority, port)
  headers:replace("x-forwarded-host", authority)
  headers:replace("x-forwarded-proto", "${scheme}")
  headers:replace("x-forwarded-port", port ~= "" and port or "${scheme === "https" ? "443" : "80"}")
  headers:replace("x-forwarded-for", client)
  local node = string.find(client, ":", 1, true) and '"[' .. client .. ']"' or client
  headers:replace("forwarded", "for=" .. node .. ';host="' .. authority .. '";proto=${scheme}')
  headers:replace("${HEADER.requestId}", "req_" .. id)
  local parent = headers:get("traceparent")
  if parent == nil or not string.find(parent, TRACE) or string.find(parent, "%u")
    or string.find(parent, "^00%-0+%-") or string.find(parent, "%-0+%-%x%x$") then
    headers:replace("traceparent", "00-" .. id .. "-" .. string.sub(id, 17) .. "-00")
    headers:remove("tracestate")
  end
  headers:replace("${VIA_HEADER}", "master")
end

local function front(handle)
  local headers = handle:headers()
  local id = string.gsub(headers:get("x-request-id") or "", "-", "")
  local visitors = headers:get("${VISITOR_ID_HEADER}")
  if visitors ~= nil and visitors ~= "" then headers:replace("x-request-id", visitors) else headers:remove("x-request-id") end
  local authority = headers:get(":authority")
  local host, port = host_of(authority)
  if host == nil or #id ~= 32 or not is_plain(headers:get(":path")) or is_in_doubt(headers) then return end
  headers:replace("${SCOPE_HEADER}", host)
  handle:clearRouteCache()
  handle:metadata():get("route") -- resolves the route, which asking for its name alone does not
  local route = handle:streamInfo():routeName()
  local tenant = string.match(route, "^${TO_NODE}(.+)$")
  if tenant == nil then
    headers:replace("${SCOPE_HEADER}", "${FALLBACK_KEY}")
    handle:clearRouteCache()
  else
    local client = headers:get("${HEADER.clientAddress}")
    make_clean(headers)
    headers:replace("${SCOPE_HEADER}", host)
    headers:replace("${TENANT_HEADER}", tenant)
    write_forwarding(headers, id, client, authority, port)
    handle:streamInfo():dynamicMetadata():set("causeway", "request", "req_" .. id)
  end
end

function envoy_on_request(handle)
  local went_well, reason = pcall(front, handle)
  if went_well then return end
  handle:logErr("front filter: " .. tostring(reason))
  handle:headers():replace("${SCOPE_HEADER}", "${FALLBACK_KEY}")
  handle:clearRouteCache()
end

local function is_hidden(name)
  return name == "alt-svc" or string.sub(name, 1, 8) == "x-envoy-"
    or (string.sub(name, 1, 9) == "causeway-" and name ~= "${HEADER.error}")
end

local function sets_own(cookie) return is_own_cookie(trim(string.match(cookie, "^[%s=]*([^=;]*)"))) end

function envoy_on_response(handle)
  local said = handle:streamInfo():dynamicMetadata():get("causeway")
  if said == nil then return end
  local headers = handle:headers()
  local doomed, cookies, had_own, singles = {}, {}, false, {}
  for name, value in pairs(headers) do
    if is_hidden(name) then doomed[#doomed + 1] = name end
    if SINGLE[name] then singles[name] = singles[name] or trim(string.match(value, "^[^,]*")) end
    if name == "set-cookie" then
      if sets_own(value) then had_own = true else cookies[#cookies + 1] = value end
    end
  end
  for _, name in ipairs(doomed) do headers:remove(name) end
  for name, value in pairs(singles) do headers:replace(name, value) end
  if had_own then
    headers:remove("set-cookie")
    for _, cookie in ipairs(cookies) do headers:add("set-cookie", cookie) end
  end
  headers:replace("${HEADER.requestId}", said["request"])
end
`;

const quoted = (text: string): string => JSON.stringify(text);
const list = (texts: Iterable<string>): string => `{ ${[...texts].map(quoted).join(", ")} }`;
const set = (texts: Iterable<string>): string =>
  `{ ${[...texts].map((text) => `[${quoted(text)}] = true`).join(", ")} }`;
