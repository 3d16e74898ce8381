// Log lines at the ABI: records, and polling by the rule of texts.
#pragma once

#include "base/log.hpp"
#include "base/result.hpp"
#include "buffers.hpp"
#include "gameforge/gameforge.h"
#include "structs.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace gf::capi {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_log_record) == 32);
inline constexpr std::size_t first_record_bytes = 24;

inline gf_log_record public_record(LogLevel level, std::int64_t unix_us, std::uint64_t dropped,
                                   std::uint64_t repeated) {
  gf_log_record out = GF_LOG_RECORD_INIT;
  out.level = static_cast<std::uint32_t>(level);
  out.unix_us = unix_us;
  out.dropped = dropped;
  out.repeated = repeated;
  return out;
}

/// Takes the next line: `poll(take)` shows it to take(record, with_module, module, message), which answers whether it
/// was taken, and gives false where there is none.
template <class Poll>
Result<void> poll_line(gf_log_record* out_record, char* buffer, std::uint64_t* size, Poll&& poll) {
  GF_TRYV(check_out(out_record, first_record_bytes, "out_record"));
  GF_TRYV(check_size(size));
  const auto room = *size;
  const auto take = [&](const gf_log_record& record, bool with_module, std::string_view module,
                        std::string_view message) {
    const std::uint64_t needed = (with_module ? module.size() + 1 : 0) + message.size() + 1;
    *size = needed;
    write_out(out_record, record);
    if (buffer == nullptr || room < needed) return false;
    char* to = buffer;
    if (with_module) {
      std::memcpy(to, module.data(), module.size());
      to += module.size();
      *to++ = '\t';
    }
    std::memcpy(to, message.data(), message.size());
    to[message.size()] = '\0';
    return true;
  };
  if (!poll(take)) return Error{Status::would_block, "there is no log line now", {}};
  if (buffer != nullptr && room < *size) {
    return Error{Status::buffer_too_small, fmt::format("the buffer holds {} bytes; {} are needed", room, *size), {}};
  }
  return success();
}

}  // namespace gf::capi
