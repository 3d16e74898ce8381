#include "error/error_store.hpp"

#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "error/fingerprint.hpp"
#include "error/log_record.hpp"
#include "error/redis_sharing.hpp"
#include "redis/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

namespace gf::error {
namespace {

using redis::Repeat;
using redis::Reply;

constexpr std::size_t longest_message = 4096;
constexpr std::size_t most_causes = 8;
constexpr std::size_t most_fields = 16;
constexpr std::size_t longest_field = 256;
constexpr std::int64_t minute_us = 60'000'000;
constexpr std::int64_t hour_us = 3'600'000'000;
// Windows up to here are summed from minutes.
constexpr std::int64_t minutes_kept_us = 2 * hour_us;
constexpr std::int64_t hours_kept_us = 192 * hour_us;
constexpr std::array<std::string_view, 5> severity_names = {"none", "info", "warning", "error", "fatal"};
constexpr std::array<std::string_view, 7> domain_names = {"none", "system", "sqlstate", "sqlite",
                                                          "cuda", "http",   "redis"};

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }
std::string text(std::uint64_t value) { return fmt::format("{}", value); }
std::string text(std::int64_t value) { return fmt::format("{}", value); }

std::string_view status_name(Status status) {
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  return entry == nullptr ? std::string_view("unknown") : std::string_view(entry->name);
}

std::string cut(std::string_view value, std::size_t most) { return std::string(first_bytes(value, most)); }

std::string masked(std::string value) {
  mask_secrets(value);
  return value;
}

// KEYS: meta, tail, groups, seen, minute, hour, then a hash for each group. ARGV: this batch's number, errors that were
// lost, the schema, kept errors, group limit, ms that groups are kept, this process, how many entries, the entries;
// then for each group: fingerprint, errors, five counts by severity, status, highest severity, title, newest entry,
// first and last time. Gives the groups that went. A batch that was sent twice is counted once.
constexpr std::string_view publish_script = R"lua(
local call = redis.call
local kinds = {'hash', 'stream', 'zset', 'string', 'zset', 'zset'}
for at, key in ipairs(KEYS) do
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= (kinds[at] or 'hash') then return {'foreign', key, found} end
end
local schema = call('HGET', KEYS[1], 'schema')
if not schema and call('EXISTS', KEYS[1]) == 1 then return {'foreign', KEYS[1], 'hash'} end
if schema and schema ~= ARGV[3] then return {'version', KEYS[1], schema} end
local last = tonumber(call('GET', KEYS[4]) or '0')
if last and last >= tonumber(ARGV[1]) then return {'ok'} end
local keep, limit = tonumber(ARGV[6]), tonumber(ARGV[5])
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
call('SET', KEYS[4], ARGV[1], 'PX', 86400000)
call('HSET', KEYS[1], 'schema', ARGV[3])
local lost = tonumber(ARGV[2])
if lost > 0 then
  call('HINCRBY', KEYS[1], 'lost', lost)
  call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'lost', ARGV[2], 'process', ARGV[7])
end
local entries = tonumber(ARGV[8])
for at = 9, 8 + entries do call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'error', ARGV[at]) end
call('HINCRBY', KEYS[1], 'errors', entries)
local at = 9 + entries
for index = 7, #KEYS do
  local group, fingerprint, count = KEYS[index], ARGV[at], ARGV[at + 1]
  for severity = 0, 4 do
    local n = ARGV[at + 2 + severity]
    if n ~= '0' then call('HINCRBY', group, 'severity' .. severity, n) end
  end
  local was = call('HMGET', group, 'severity', 'first', 'last', 'processes')
  local severity, first, latest = ARGV[at + 8], ARGV[at + 11], ARGV[at + 12]
  if was[1] and tonumber(was[1]) > tonumber(severity) then severity = was[1] end
  if was[2] and tonumber(was[2]) < tonumber(first) then first = was[2] end
  if was[3] and tonumber(was[3]) > tonumber(latest) then latest = was[3] end
  call('HSET', group, 'status', ARGV[at + 7], 'severity', severity, 'title', ARGV[at + 9], 'sample', ARGV[at + 10],
    'first', first, 'last', latest)
  call('HINCRBY', group, 'total', count)
  local who = 'process:' .. ARGV[7]
  if call('HEXISTS', group, who) == 0 then
    if tonumber(was[4] or '0') < 32 then call('HINCRBY', group, 'processes', 1) else who = 'others' end
  end
  call('HINCRBY', group, who, count)
  call('PEXPIRE', group, keep)
  call('ZADD', KEYS[3], now, fingerprint)
  for bucket = 5, 6 do
    -- A flood of kinds must not become a flood of keys' bytes.
    local member = fingerprint
    if not call('ZSCORE', KEYS[bucket], fingerprint) and call('ZCARD', KEYS[bucket]) >= limit then member = 'other' end
    call('ZINCRBY', KEYS[bucket], count, member)
  end
  at = at + 13
end
call('PEXPIRE', KEYS[5], 7500000)
call('PEXPIRE', KEYS[6], 694800000)
call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - keep)
local out = {'ok'}
local over = call('ZCARD', KEYS[3]) - limit
if over > 0 then
  local gone = call('ZPOPMIN', KEYS[3], over)
  for index = 1, #gone, 2 do out[#out + 1] = gone[index] end
  call('HINCRBY', KEYS[1], 'evicted', over)
end
for index = 1, 3 do call('PEXPIRE', KEYS[index], keep) end
return out
)lua";

Result<void> check_answer(const Reply& reply) {
  const auto& items = reply.items;
  if (items.size() == 3 && items[0].text == "foreign") {
    return Error{
        Status::wrong_state,
        fmt::format("the key {} is a {} of somebody else's, and no error store's", items[1].text, items[2].text),
        {}};
  }
  if (items.size() == 3 && items[0].text == "version") {
    return Error{Status::schema_too_new,
                 fmt::format("the key {} has schema {}; this version of the library knows {}", items[1].text,
                             items[2].text, error_store_schema),
                 {}};
  }
  if (items.empty() || items[0].text != "ok") {
    return Error{Status::redis_error, "the script of the error store gave what it never should", {}};
  }
  return success();
}

std::string hex(std::uint64_t fingerprint) { return fmt::format("{:016x}", fingerprint); }

bool is_id(std::string_view id) {
  const auto dash = id.find('-');
  const auto digits = [](std::string_view part) {
    return !part.empty() && part.size() <= 20 && part.find_first_not_of("0123456789") == std::string_view::npos;
  };
  return dash != std::string_view::npos && digits(id.substr(0, dash)) && digits(id.substr(dash + 1));
}

}  // namespace

struct ErrorStore::Incoming {
  std::uint64_t fingerprint = 0;
  bool foreign_text = false;
  Severity severity = Severity::error;
  Error error;
  std::string module;
  std::string place;
  std::string model;
  std::string user;
  std::string device;
  std::int64_t at_us = 0;  // Monotonic.
};

struct ErrorStore::Core {
  std::string key(std::string_view end) const { return fmt::format("{{{}:errors}}:{}", options.name_space, end); }
  std::string group_key(std::string_view fingerprint) const { return key(fmt::format("group:{}", fingerprint)); }

  Result<void> send(std::vector<Incoming>& batch, std::uint64_t lost);
  void write_entry(JsonText& out, const Incoming& incoming, std::int64_t at_us) const;
  Result<std::int64_t> server_us(redis::Client& by) const;
  /// The fields of a hash.
  Result<std::map<std::string, std::string>> fields_of(const std::string& name);
  Result<std::map<std::string, std::string>> meta();
  void write_group(JsonText& out, std::string_view fingerprint, const std::map<std::string, std::string>& fields) const;

  ErrorStoreOptions options;
  std::unique_ptr<redis::Client> client;  // The thread's.
  std::unique_ptr<redis::Client> asking;
  redis::Script publish{std::string(publish_script)};
  std::string instance;
  std::uint64_t sequence = 0;                   // The thread's, as the next.
  std::optional<redis::ScriptCall> on_its_way;  // Of a batch that may have arrived.
};

void ErrorStore::Core::write_entry(JsonText& out, const Incoming& incoming, std::int64_t at_us) const {
  const auto& error = incoming.error;
  out.begin_object().member("at_us", at_us).member("process", options.process);
  out.member("fingerprint", hex(incoming.fingerprint));
  out.member("status", static_cast<std::uint32_t>(error.status)).member("name", status_name(error.status));
  out.member("severity", severity_names[std::min<std::size_t>(static_cast<std::size_t>(incoming.severity), 4)]);
  out.text_or_null("module", incoming.module).text_or_null("place", incoming.place);
  out.member("message", masked(error.message));
  const auto foreign = [&](const ForeignCode& code) {
    out.key("foreign");
    if (code.domain == ForeignCode::Domain::none) {
      out.null();
      return;
    }
    const auto domain = static_cast<std::size_t>(code.domain);
    out.begin_object().member("domain", domain < domain_names.size() ? domain_names[domain] : "unknown");
    out.member("number", code.number).end_object();
  };
  foreign(error.foreign);
  out.key("causes").begin_array();
  for (const auto& cause : error.causes) {
    out.begin_object().member("status", static_cast<std::uint32_t>(cause.status));
    out.member("name", status_name(cause.status)).member("message", masked(cause.message));
    foreign(cause.foreign);
    out.end_object();
  }
  out.end_array().key("context").begin_object();
  std::vector<std::string_view> seen;
  for (const auto& field : error.context) {
    if (std::find(seen.begin(), seen.end(), field.key) != seen.end()) continue;
    seen.push_back(field.key);
    out.member(field.key, is_secret_key(field.key) ? std::string("***") : masked(field.value));
  }
  out.end_object();
  out.text_or_null("model", masked(incoming.model)).text_or_null("user", masked(incoming.user));
  out.text_or_null("device", masked(incoming.device)).end_object();
}

Result<std::int64_t> ErrorStore::Core::server_us(redis::Client& by) const {
  GF_TRY(const auto time, by.call({"TIME"}, Repeat::safe));
  if (time.items.size() != 2) return Error{Status::redis_error, "TIME gave no time", {}};
  return time.items[0].number() * 1'000'000 + time.items[1].number();
}

Result<void> ErrorStore::Core::send(std::vector<Incoming>& batch, std::uint64_t lost) {
  if (!on_its_way) {
    GF_TRY(const auto server, server_us(*client));
    const auto now_us = system_clock().now_us();
    struct Group {
      std::uint64_t count = 0;
      std::array<std::uint64_t, 5> by_severity{};
      Severity highest = Severity::none;
      const Incoming* newest = nullptr;
      std::string entry;
      std::int64_t first_us = 0;
      std::int64_t last_us = 0;
    };
    std::map<std::uint64_t, Group> groups;
    std::vector<std::string> entries;
    entries.reserve(batch.size());
    for (const auto& incoming : batch) {
      const auto at_us = server - std::max<std::int64_t>(now_us - incoming.at_us, 0);
      JsonText json;
      write_entry(json, incoming, at_us);
      entries.push_back(std::move(json).str());
      auto& group = groups[incoming.fingerprint];
      if (group.count++ == 0) group.first_us = group.last_us = at_us;
      group.first_us = std::min(group.first_us, at_us);
      group.last_us = std::max(group.last_us, at_us);
      ++group.by_severity[std::min<std::size_t>(static_cast<std::size_t>(incoming.severity), 4)];
      group.highest = std::max(group.highest, incoming.severity);
      group.newest = &incoming;
      group.entry = entries.back();
    }
    redis::ScriptCall call{
        &publish,
        {key("meta"), key("tail"), key("groups"), key(fmt::format("seen:{}", instance)),
         key(fmt::format("minute:{}", server / minute_us)), key(fmt::format("hour:{}", server / hour_us))},
        {text(sequence + 1), text(lost), text(std::int64_t{error_store_schema}),
         text(std::uint64_t{options.kept_errors}), text(std::uint64_t{options.group_limit}),
         text(options.kept_us / 1000), options.process, text(std::uint64_t{entries.size()})}};
    for (auto& entry : entries) call.arguments.push_back(std::move(entry));
    for (auto& [fingerprint, group] : groups) {
      const auto& newest = *group.newest;
      call.keys.push_back(group_key(hex(fingerprint)));
      call.arguments.push_back(hex(fingerprint));
      call.arguments.push_back(text(group.count));
      for (const auto count : group.by_severity) call.arguments.push_back(text(count));
      call.arguments.push_back(text(std::int64_t{static_cast<std::int32_t>(newest.error.status)}));
      call.arguments.push_back(text(std::int64_t{static_cast<std::int32_t>(group.highest)}));
      call.arguments.push_back(cut(
          newest.foreign_text ? template_of(masked(newest.error.message))
                              : fmt::format("{} in {}", status_name(newest.error.status),
                                            newest.place.empty() ? "an unknown place" : std::string_view(newest.place)),
          200));
      call.arguments.push_back(std::move(group.entry));
      call.arguments.push_back(text(group.first_us));
      call.arguments.push_back(text(group.last_us));
    }
    on_its_way = std::move(call);
    ++sequence;
  }
  // By its number it is counted once, so that it may be sent again, as it is: the lost ones of a later try come with
  // the next batch.
  GF_TRY(const auto reply, client->run(*on_its_way, Repeat::safe));
  GF_TRYV(check_answer(reply));
  on_its_way.reset();
  if (reply.items.size() > 1) {
    redis::Command unlink = {"UNLINK"};
    for (std::size_t at = 1; at < reply.items.size(); ++at) unlink.push_back(group_key(reply.items[at].text));
    // Where this fails they expire.
    (void)client->call(std::move(unlink), Repeat::safe);
  }
  return success();
}

Result<std::map<std::string, std::string>> ErrorStore::Core::fields_of(const std::string& name) {
  auto reply = asking->call({"HGETALL", name}, Repeat::safe);
  if (!reply && reply.error().message.find("WRONGTYPE") != std::string::npos) {
    return Error{Status::wrong_state, fmt::format("the key {} is somebody else's, and no error store's", name), {}};
  }
  if (!reply) return std::move(reply).as_failure();
  std::map<std::string, std::string> fields;
  auto& items = reply.value().items;
  for (std::size_t at = 0; at + 1 < items.size(); at += 2) fields[items[at].text] = std::move(items[at + 1].text);
  return fields;
}

Result<std::map<std::string, std::string>> ErrorStore::Core::meta() {
  const auto name = key("meta");
  GF_TRY(auto fields, fields_of(name));
  const auto schema = fields.find("schema");
  if (schema == fields.end() && !fields.empty()) {
    return Error{Status::wrong_state, fmt::format("the key {} is somebody else's, and no error store's", name), {}};
  }
  if (schema != fields.end() && schema->second != text(std::int64_t{error_store_schema})) {
    return Error{Status::schema_too_new,
                 fmt::format("the key {} has schema {}; this version of the library knows {}", name, schema->second,
                             error_store_schema),
                 {}};
  }
  return fields;
}

namespace {

std::string field(const std::map<std::string, std::string>& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}

std::int64_t number(const std::map<std::string, std::string>& fields, const std::string& name) {
  const auto value = field(fields, name);
  std::int64_t out = 0;
  (void)std::from_chars(value.data(), value.data() + value.size(), out);
  return out;
}

}  // namespace

void ErrorStore::Core::write_group(JsonText& out, std::string_view fingerprint,
                                   const std::map<std::string, std::string>& fields) const {
  out.member("fingerprint", fingerprint);
  const auto status = number(fields, "status");
  out.member("status", status).member("name", status_name(static_cast<Status>(status)));
  out.member("severity",
             severity_names[static_cast<std::size_t>(std::clamp<std::int64_t>(number(fields, "severity"), 0, 4))]);
  out.member("title", field(fields, "title")).member("total", number(fields, "total"));
  out.member("first_us", number(fields, "first")).member("last_us", number(fields, "last"));
  out.member("processes", number(fields, "processes"));
}

Result<std::unique_ptr<ErrorStore>> ErrorStore::open(const ErrorStoreOptions& options) {
  GF_TRYV(check_range("kept_errors", options.kept_errors, 1, 1'000'000));
  GF_TRYV(check_range("group_limit", options.group_limit, 1, 65'536));
  GF_TRYV(check_range("kept_us", options.kept_us, minute_us, 90 * 24 * hour_us));
  GF_TRY(const auto client, client_options(options.name_space, options.command_timeout_us, 2));
  GF_TRY(auto process, process_name(options.process));
  auto core = std::make_shared<Core>();
  core->options = options;
  core->options.process = std::move(process);
  core->instance = instance_name();
  GF_TRY(core->client, redis::Client::create(options.url, client));
  GF_TRY(core->asking, redis::Client::create(options.url, client));
  std::unique_ptr<ErrorStore> out(new ErrorStore(core));
  GF_TRY(out->thread_, BatchThread<Incoming>::start(
                           options.batch,
                           [core](std::vector<Incoming>& batch, std::uint64_t lost) { return core->send(batch, lost); },
                           [core] { core->client->close(); }));
  return out;
}

ErrorStore::ErrorStore(std::shared_ptr<Core> core) : core_(std::move(core)) {}
ErrorStore::~ErrorStore() { close(0); }

bool ErrorStore::put(Incoming&& incoming) noexcept {
  incoming.at_us = system_clock().now_us();
  auto bytes = sizeof(Incoming) + incoming.error.message.size() + incoming.place.size() + incoming.module.size() +
               incoming.model.size() + incoming.user.size() + incoming.device.size();
  for (const auto& cause : incoming.error.causes) bytes += sizeof cause + cause.message.size();
  for (const auto& field : incoming.error.context) bytes += sizeof field + field.key.size() + field.value.size();
  return thread_->put(std::move(incoming), bytes);
}

bool ErrorStore::record(const Error& error, const ErrorTags& tags, std::optional<std::string_view> place,
                        std::string_view module, Severity severity) noexcept {
  try {
    Incoming incoming;
    incoming.fingerprint = place ? fingerprint_of(error, *place) : fingerprint_of(error);
    const auto* entry = find_status(static_cast<std::int32_t>(error.status));
    incoming.severity = severity != Severity::none ? severity : entry == nullptr ? Severity::error : entry->severity;
    incoming.module = cut(module, longest_field);
    const auto& where = error.causes.empty() ? error.where : error.causes.back().where;
    incoming.place = cut(place ? *place : short_place(where.function_name()), longest_field);
    incoming.error.status = error.status;
    incoming.error.foreign = error.foreign;
    incoming.error.message = cut(error.message, longest_message);
    for (const auto& cause : error.causes) {
      if (incoming.error.causes.size() == most_causes) break;
      incoming.error.causes.push_back(
          {cause.status, cut(cause.message, longest_message / 4), cause.foreign, cause.where});
    }
    for (const auto& field : error.context) {
      if (incoming.error.context.size() == most_fields) break;
      incoming.error.context.push_back({cut(field.key, longest_field), cut(field.value, longest_field)});
    }
    incoming.model = cut(tags.model, longest_field);
    incoming.user = cut(tags.user, longest_field);
    incoming.device = cut(tags.device, longest_field);
    return put(std::move(incoming));
  } catch (const std::bad_alloc&) {
    thread_->note_lost();
    return false;
  }
}

bool ErrorStore::record_text(std::string_view module, std::string_view message, Severity severity,
                             const ErrorTags& tags) noexcept {
  try {
    Incoming incoming;
    incoming.fingerprint = fingerprint_of_foreign(module, message);
    incoming.foreign_text = true;
    incoming.severity = severity;
    incoming.error.message = cut(message, longest_message);
    incoming.module = cut(module, longest_field);
    incoming.model = cut(tags.model, longest_field);
    incoming.user = cut(tags.user, longest_field);
    incoming.device = cut(tags.device, longest_field);
    return put(std::move(incoming));
  } catch (const std::bad_alloc&) {
    thread_->note_lost();
    return false;
  }
}

Result<void> ErrorStore::flush(std::int64_t timeout_us) { return thread_->flush(timeout_us); }

void ErrorStore::close(std::int64_t timeout_us) {
  if (thread_) thread_->close(timeout_us);
  core_->asking->close();
}

BatchStatistics ErrorStore::statistics() const { return thread_->statistics(); }

Result<std::string> ErrorStore::top_json(std::int64_t window_us, std::uint32_t count) {
  if (window_us < 1'000'000 || window_us > hours_kept_us) {
    return invalid(fmt::format("window_us is {}; it must be 1000000 to {}", window_us, hours_kept_us));
  }
  if (count < 1 || count > 1000) return invalid(fmt::format("count is {}; it must be 1 to 1000", count));
  auto& core = *core_;
  GF_TRY(const auto meta, core.meta());
  GF_TRY(const auto now_us, core.server_us(*core.asking));
  const bool by_minute = window_us <= minutes_kept_us;
  const auto step_us = by_minute ? minute_us : hour_us;
  const auto* const name = by_minute ? "minute" : "hour";
  redis::Command command = {"ZUNION", ""};
  for (auto bucket = (now_us - window_us) / step_us; bucket <= now_us / step_us; ++bucket) {
    command.push_back(core.key(fmt::format("{}:{}", name, bucket)));
  }
  command[1] = text(std::uint64_t{command.size() - 2});
  command.emplace_back("WITHSCORES");
  GF_TRY(const auto reply, core.asking->call(std::move(command), Repeat::safe));
  std::vector<std::pair<std::uint64_t, std::string>> order;
  std::uint64_t errors = 0;
  std::uint64_t ungrouped = 0;
  for (std::size_t at = 0; at + 1 < reply.items.size(); at += 2) {
    const auto score = reply.items[at + 1].number();  // Whole numbers, below 2^53.
    const auto many = static_cast<std::uint64_t>(std::max<std::int64_t>(score, 0));
    errors += many;
    if (reply.items[at].text == "other") {
      ungrouped += many;
    } else {
      order.emplace_back(many, reply.items[at].text);
    }
  }
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  JsonText out;
  out.begin_object().member("window_us", window_us).member("errors", errors).member("other", ungrouped);
  out.member("lost", number(meta, "lost")).member("evicted_groups", number(meta, "evicted"));
  out.key("groups").begin_array();
  std::uint32_t shown = 0;
  for (const auto& [many, fingerprint] : order) {
    if (shown == count) break;
    GF_TRY(const auto fields, core.fields_of(core.group_key(fingerprint)));
    if (fields.empty()) continue;  // It went, or is about to.
    out.begin_object();
    core.write_group(out, fingerprint, fields);
    out.member("in_window", many).end_object();
    ++shown;
  }
  out.end_array().end_object();
  return std::move(out).str();
}

Result<std::string> ErrorStore::show_json(std::uint64_t fingerprint) {
  auto& core = *core_;
  GF_TRYV(core.meta());
  const auto name = hex(fingerprint);
  GF_TRY(const auto fields, core.fields_of(core.group_key(name)));
  if (fields.empty()) return Error{Status::not_found, fmt::format("there is no group {}", name), {}};
  JsonText out;
  out.begin_object();
  core.write_group(out, name, fields);
  out.key("by_severity").begin_object();
  for (std::size_t severity = 0; severity < severity_names.size(); ++severity) {
    out.member(severity_names[severity], number(fields, fmt::format("severity{}", severity)));
  }
  out.end_object().key("by_process").begin_object();
  constexpr std::string_view prefix = "process:";
  for (const auto& [each, value] : fields) {
    if (each.starts_with(prefix)) out.member(std::string_view(each).substr(prefix.size()), number(fields, each));
  }
  out.end_object().member("other_processes", number(fields, "others"));
  out.key("sample").json(field(fields, "sample").empty() ? "null" : field(fields, "sample")).end_object();
  return std::move(out).str();
}

Result<std::string> ErrorStore::tail_json(std::string_view after, std::uint32_t count, std::int64_t wait_us) {
  if (count < 1 || count > 1000) return invalid(fmt::format("count is {}; it must be 1 to 1000", count));
  if (wait_us < 0 || wait_us > hour_us) {
    return invalid(fmt::format("wait_us is {}; it must be 0 to {}", wait_us, hour_us));
  }
  if (!after.empty() && !is_id(after)) {
    return invalid(fmt::format("after is \"{}\"; it must be an id that was given as next", after));
  }
  auto& core = *core_;
  GF_TRYV(core.meta());
  const auto stream = core.key("tail");
  const auto page = text(std::uint64_t{count});
  std::vector<Reply> found;
  if (after.empty()) {
    GF_TRY(auto reply, core.asking->call({"XREVRANGE", stream, "+", "-", "COUNT", page}, Repeat::safe));
    found = std::move(reply.items);
    std::reverse(found.begin(), found.end());
  } else {
    GF_TRY(auto reply,
           core.asking->call({"XRANGE", stream, fmt::format("({}", after), "+", "COUNT", page}, Repeat::safe));
    found = std::move(reply.items);
  }
  if (found.empty() && wait_us > 0) {
    // Behind the newest that there was, so that what comes between the two questions is not missed.
    const auto from = after.empty() ? std::string("0-0") : std::string(after);
    const auto wait_ms = std::max<std::int64_t>(wait_us / 1000, 1);
    GF_TRY(auto reply, core.asking->call_blocking(
                           {"XREAD", "COUNT", page, "BLOCK", text(wait_ms), "STREAMS", stream, from}, wait_us));
    if (!reply.items.empty() && reply.items[0].items.size() == 2) found = std::move(reply.items[0].items[1].items);
  }
  JsonText out;
  out.begin_object().key("errors").begin_array();
  std::string next(after.empty() ? std::string_view("0-0") : after);
  for (const auto& entry : found) {
    if (entry.items.size() != 2) continue;
    next = entry.items[0].text;
    const auto& fields = entry.items[1].items;
    out.begin_object().member("id", next);
    if (fields.size() >= 2 && fields[0].text == "error") {
      // What is written there is JSON of ours, unless somebody else wrote it.
      const auto& json = fields[1].text;
      out.key("error").json(json.starts_with('{') && json.ends_with('}') ? json : "null");
    } else if (fields.size() >= 4 && fields[0].text == "lost") {
      out.member("lost", fields[1].number()).member("process", fields[3].text);
    }
    out.end_object();
  }
  out.end_array().member("next", next).end_object();
  return std::move(out).str();
}

}  // namespace gf::error
