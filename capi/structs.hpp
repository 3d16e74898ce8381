// Structs of any version: reading what a host passes, writing what it gets, in the sizes that its header and ours
// share.
#pragma once

#include "base/result.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace gf::capi {

/// No struct of ours will ever be larger: a size beyond it is that of a struct that was never initialised.
inline constexpr std::size_t max_struct_bytes = 4096;

inline Error bad_struct_size(std::string_view what, std::size_t size, std::size_t first_size) {
  return Error{Status::invalid_argument,
               fmt::format("{}->struct_size is {}; it must be {} to {}, as the INIT macro of {} sets it", what, size,
                           first_size, max_struct_bytes, what),
               {}};
}

/// Lays the caller's struct over our defaults, whichever side has the newer header: a field that the caller lacks keeps
/// its default, and one that we lack must be 0. `first_size` is the struct's size when it was first released; `what` is
/// the parameter's name. NULL stands for the defaults.
template <class Options>
Result<Options> read_options(const Options* given, Options options, std::size_t first_size, std::string_view what) {
  if (given == nullptr) return options;
  const std::size_t size = given->struct_size;
  if (size < first_size || size > max_struct_bytes) return bad_struct_size(what, size, first_size);
  const std::size_t known = std::min(size, sizeof(Options));
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  const auto* set = std::find_if(bytes + known, bytes + size, [](unsigned char byte) { return byte != 0; });
  if (set != bytes + size) {
    return Error{Status::unsupported,
                 fmt::format("{} has a field of a newer version set, at its byte {}; this library knows {} bytes", what,
                             set - bytes, sizeof(Options)),
                 {}};
  }
  std::memcpy(static_cast<void*>(&options), given, known);
  options.struct_size = sizeof(Options);
  return options;
}

/// Checks that a struct can take a result: before anything is consumed for it.
template <class Out>
Result<void> check_out(const Out* out, std::size_t first_size, std::string_view what) {
  if (out == nullptr) return Error{Status::invalid_argument, fmt::format("{} is NULL", what), {}};
  if (out->struct_size < first_size || out->struct_size > max_struct_bytes) {
    return bad_struct_size(what, out->struct_size, first_size);
  }
  return success();
}

/// Writes what the caller's struct has room for; its struct_size stays. check_out has passed.
template <class Out>
void write_out(Out* out, const Out& value) {
  const std::size_t known = std::min<std::size_t>(out->struct_size, sizeof(Out));
  constexpr std::size_t head = sizeof out->struct_size;
  std::memcpy(reinterpret_cast<unsigned char*>(out) + head, reinterpret_cast<const unsigned char*>(&value) + head,
              known - head);
}

}  // namespace gf::capi
