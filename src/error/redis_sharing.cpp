#include "error/redis_sharing.hpp"

#include "base/ids.hpp"
#include "base/platform_wait.hpp"

#include <fmt/format.h>

#include <array>

#include <unistd.h>

namespace gf::error {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

}  // namespace

Result<void> check_range(std::string_view name, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return success();
  return invalid(fmt::format("{} is {}; it must be {} to {}", name, value, low, high));
}

Result<redis::ClientOptions> client_options(const std::string& name_space, std::int64_t command_timeout_us,
                                            std::size_t kept_connections) {
  GF_TRYV(check_range("command_timeout_us", command_timeout_us, 10'000, 60'000'000));
  if (name_space.empty() || name_space.size() > 200 || name_space.find_first_of("{}") != std::string::npos) {
    return invalid(fmt::format("name_space is \"{}\"; it must be 1 to 200 bytes without braces", name_space));
  }
  redis::ClientOptions client;
  client.connect_timeout_us = client.command_timeout_us = command_timeout_us;
  client.kept_connections = kept_connections;
  return client;
}

Result<std::string> process_name(const std::string& wished) {
  if (wished.size() > 100) {
    return invalid(fmt::format("process has {} bytes; it must have at most 100", wished.size()));
  }
  if (!wished.empty()) return wished;
  std::array<char, 65> host{};
  (void)::gethostname(host.data(), host.size() - 1);
  return fmt::format("{}:{}", host.data(), process_number());
}

std::string instance_name() { return fmt::format("{}-{:016x}", process_number(), random_bits()); }

}  // namespace gf::error
