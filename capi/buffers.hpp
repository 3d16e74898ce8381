// Results of any length: the (buffer, size) rule of the header, for text, bytes and floats.
#pragma once

#include "base/result.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace gf::capi {

/// Whether `*size` can be asked at all; before any work is done for it.
inline Result<void> check_size(const std::uint64_t* size, std::string_view what = "size") {
  if (size == nullptr) return Error{Status::invalid_argument, fmt::format("{} is NULL", what), {}};
  return success();
}

/// Writes `count` values that `fill(T*)` puts there, or tells how many there are. check_size has passed.
template <class T, class Fill>
Result<void> fill_buffer(std::uint64_t count, T* buffer, std::uint64_t* size, std::string_view unit, Fill&& fill) {
  const auto room = *size;
  *size = count;
  if (buffer == nullptr) return success();
  if (room < count) {
    return Error{Status::buffer_too_small, fmt::format("the buffer holds {} {}; {} are needed", room, unit, count), {}};
  }
  fill(buffer);
  return success();
}

/// `text` and its NUL.
inline Result<void> give_text(std::string_view text, char* buffer, std::uint64_t* size) {
  return fill_buffer(text.size() + 1, buffer, size, "bytes", [text](char* to) {
    std::memcpy(to, text.data(), text.size());
    to[text.size()] = '\0';
  });
}

}  // namespace gf::capi
