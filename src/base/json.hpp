// JSON from outside: parsed with limits, duplicates refused, every failure a typed error with its position.
#pragma once

#include "base/result.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace gf {

using Json = nlohmann::json;

/// What a document may have at most. Nothing here depends on trust in the document.
struct JsonLimits {
  std::size_t depth = 64;
  std::size_t values = 4'000'000;  ///< Values in all, containers included.
};

/// Parses UTF-8 `text`, which `name` calls in messages (a file's path). A byte order mark at the start is skipped, as
/// editors on Windows write one.
///
/// Errors: corrupt_file where it is not JSON, not UTF-8, nested too deep, too long, or names a key of one object twice.
Result<Json> parse_json(std::string_view text, std::string_view name, const JsonLimits& limits = {});

/// The document as text. Text that is not UTF-8 is replaced (U+FFFD), so it never throws for what came from outside.
std::string to_text(const Json& value, int indent = -1);

}  // namespace gf
