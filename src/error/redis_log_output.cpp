#include "error/redis_log_output.hpp"

#include "redis/client.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <utility>

#include <unistd.h>

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

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

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
  const auto in_range = [](std::string_view name, std::int64_t value, std::int64_t low,
                           std::int64_t high) -> Result<void> {
    if (value >= low && value <= high) return success();
    return invalid(fmt::format("{} is {}; it must be {} to {}", name, value, low, high));
  };
  GF_TRYV(in_range("kept_lines", options.kept_lines, 1, 10'000'000));
  GF_TRYV(in_range("kept_us", options.kept_us, 60'000'000, std::int64_t{90} * 24 * 3'600'000'000));
  GF_TRYV(in_range("command_timeout_us", options.command_timeout_us, 10'000, 60'000'000));
  if (options.process.size() > 100) {
    return invalid(fmt::format("process has {} bytes; it must have at most 100", options.process.size()));
  }
  if (options.name_space.empty() || options.name_space.size() > 200 ||
      options.name_space.find_first_of("{}") != std::string::npos) {
    return invalid(fmt::format("name_space is \"{}\"; it must be 1 to 200 bytes without braces", options.name_space));
  }
  auto core = std::make_shared<Core>();
  core->options = options;
  core->instance = fmt::format("{}-{:016x}", process_number(), random_bits());
  if (core->options.process.empty()) {
    std::array<char, 65> host{};
    (void)::gethostname(host.data(), host.size() - 1);
    core->options.process = fmt::format("{}:{}", host.data(), process_number());
  }
  redis::ClientOptions client;
  client.connect_timeout_us = client.command_timeout_us = options.command_timeout_us;
  client.kept_connections = 1;
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
