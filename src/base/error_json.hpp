// An error as the JSON object that every report gives it as.
#pragma once

#include "base/json_text.hpp"
#include "base/result.hpp"

#include <span>
#include <string_view>

namespace gf {

/// {status, name, message}: a cause in an error, or an error of a list. Throws bad_alloc.
void write_cause(JsonText& out, Status status, std::string_view message);

/// {status, name, message, causes: [{status, name, message}], retryable, hint}. Throws bad_alloc.
void write_error(JsonText& out, Status status, std::string_view message, std::span<const ErrorCause> causes);

inline void write_error(JsonText& out, const Error& error) {
  write_error(out, error.status, error.message, error.causes);
}

}  // namespace gf
