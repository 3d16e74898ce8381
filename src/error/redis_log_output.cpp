#include "error/redis_log_output.hpp"

#include "error/redis_sharing.hpp"
#include "redis/client.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace gf::error {
namespace {

// KEYS: the stream, how far this process has written. ARGV: this batch's number, kept lines, ms that they are kept, the
// process, the lines. A batch that was sent twice is written once.
constexpr std::string_view append_script = R"lua(
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if last and last >= tonumber(ARGV[1]) then return 0 end
for at = 5, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'process', ARGV[4], 'line', ARGV[at])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', 86400000)
return #ARGV - 4
)lua";

}  // namespace

/// The thread's.
struct RedisLogOutput::Core {
  Result<void> send(std::vector<std::string>& batch, std::uint64_t lost) {
    if (!on_its_way) {
      redis::ScriptCall call{&script,
                             {fmt::format("{{{}:log}}:lines", options.name_space),
                              fmt::format("{{{}:log}}:seen:{}", options.name_space, instance)},
                             {fmt::format("{}", sequence + 1), fmt::format("{}", options.kept_lines),
                              fmt::format("{}", options.kept_us / 1000), options.process}};
      if (lost > 0) {
        // Of no time of its own: as late as the gap.
        LogRecord gap;
        gap.level = LogLevel::warning;
        gap.unix_us = system_clock().unix_us();
        gap.module = "log";
        const auto message = fmt::format("{} lines were lost, as Redis did not take them", lost);
        gap.message = message;
        gap.dropped = lost;
        std::string line;
        append_json(line, gap);
        line.pop_back();
        call.arguments.push_back(std::move(line));
      }
      for (const auto& line : batch) call.arguments.push_back(line);
      on_its_way = std::move(call);
      ++sequence;
    }
    GF_TRYV(client->run(*on_its_way, redis::Repeat::safe));
    on_its_way.reset();
    return success();
  }

  RedisLogOutputOptions options;
  std::unique_ptr<redis::Client> client;
  redis::Script script{std::string(append_script)};
  std::string instance;
  std::uint64_t sequence = 0;
  std::optional<redis::ScriptCall> on_its_way;  // Of a batch that may have arrived.
};

Result<std::unique_ptr<RedisLogOutput>> RedisLogOutput::open(const RedisLogOutputOptions& options) {
  GF_TRYV(check_range("kept_lines", options.kept_lines, 1, 10'000'000));
  GF_TRYV(check_range("kept_us", options.kept_us, 60'000'000, std::int64_t{90} * 24 * 3'600'000'000));
  GF_TRY(const auto client, client_options(options.name_space, options.command_timeout_us, 1));
  GF_TRY(auto process, process_name(options.process));
  auto core = std::make_shared<Core>();
  core->options = options;
  core->options.process = std::move(process);
  core->instance = instance_name();
  GF_TRY(core->client, redis::Client::create(options.url, client));
  std::unique_ptr<RedisLogOutput> out(new RedisLogOutput);
  GF_TRY(out->thread_,
         BatchThread<std::string>::start(
             options.batch,
             [core](std::vector<std::string>& batch, std::uint64_t lost) { return core->send(batch, lost); },
             [core] { core->client->close(); }));
  return out;
}

RedisLogOutput::~RedisLogOutput() { close(0); }

Result<void> RedisLogOutput::write(const LogRecord& record) {
  std::string line;
  append_json(line, record);
  if (!line.empty() && line.back() == '\n') line.pop_back();
  const auto bytes = line.size() + sizeof line;
  if (thread_->put(std::move(line), bytes)) return success();
  return Error{Status::queue_full, "there is no room for the line until Redis takes others", {}};
}

Result<void> RedisLogOutput::drain(std::int64_t timeout_us) { return thread_->flush(timeout_us); }

void RedisLogOutput::close(std::int64_t timeout_us) {
  if (thread_) thread_->close(timeout_us);
}

BatchStatistics RedisLogOutput::statistics() const { return thread_->statistics(); }

}  // namespace gf::error
