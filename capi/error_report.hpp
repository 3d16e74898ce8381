// gf_error_report as aggregator and store take it.
#pragma once

#include "base/result.hpp"
#include "error/aggregator.hpp"
#include "gameforge/gameforge.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gf::capi {

/// A report that was checked. What its texts point to, and `causes`, are the caller's.
struct ReadReport {
  struct Cause {
    Status status = Status::ok;
    ForeignCode foreign{};
    std::string_view message;
  };

  Status status = Status::ok;          ///< ok: a foreign text.
  Severity severity = Severity::none;  ///< none: the status's; never of a foreign text.
  ForeignCode foreign{};
  std::string_view message;
  std::string_view place;
  std::string_view module;
  error::ErrorTags tags;
  std::array<Cause, 16> causes;
  std::size_t cause_count = 0;
  std::int64_t unix_us = 0;
  gf_error_report given{};  ///< For the context, which only the store keeps.
};

/// Errors: invalid_argument and unsupported name the field.
Result<ReadReport> read_report(const gf_error_report* given);

}  // namespace gf::capi
