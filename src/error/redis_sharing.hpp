// What the parts of this room that go through Redis have in common: checks of their options, and who this process is.
#pragma once

#include "base/result.hpp"
#include "redis/client.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gf::error {

/// Errors: invalid_argument with the name, the value and the range.
Result<void> check_range(std::string_view name, std::int64_t value, std::int64_t low, std::int64_t high);

/// Checks the options that all have, and gives the client's. A name space stands in the braces of the keys, so that it
/// has none. Errors: invalid_argument.
Result<redis::ClientOptions> client_options(const std::string& name_space, std::int64_t command_timeout_us,
                                            std::size_t kept_connections);

/// Who writes, for people: `wished`, or host and process number. Errors: invalid_argument for more than 100 bytes.
Result<std::string> process_name(const std::string& wished);

/// Another one for each part of each process, to tell a batch that is sent twice.
std::string instance_name();

}  // namespace gf::error
