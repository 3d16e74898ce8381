// JSON from outside: parsed with limits, duplicates refused, every failure a typed error with its position.
#pragma once

#include "base/result.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace gf {

using Json = nlohmann::json;

/// What a document may have at most. Nothing here depends on trust in the document.
struct JsonLimits {
  std::size_t depth = 64;
  std::size_t values = 4'000'000;  ///< Values in all, containers included.
};

/// A parsed document, to be read. nlohmann's own destructor (3.11.2) allocates, and ends the process where it cannot;
/// this one does not. What is copied out of it is the reader's: copy texts and numbers, not containers.
class JsonDocument {
 public:
  explicit JsonDocument(Json root) noexcept : root_(std::move(root)) {}
  JsonDocument(JsonDocument&& other) noexcept : root_(std::move(other.root_)) {}
  JsonDocument& operator=(JsonDocument&& other) noexcept;
  ~JsonDocument();

  const Json& operator*() const noexcept { return root_; }
  const Json* operator->() const noexcept { return &root_; }

 private:
  Json root_;
};

/// Parses UTF-8 `text`, which `name` calls in messages (a file's path). A byte order mark at the start is skipped, as
/// editors on Windows write one.
///
/// Errors: corrupt_file where it is not JSON, not UTF-8, nested too deep, too long, or names a key of one object twice.
Result<JsonDocument> parse_json(std::string_view text, std::string_view name, const JsonLimits& limits = {});

/// The document as text. Text that is not UTF-8 is replaced (U+FFFD), so it never throws for what came from outside.
std::string to_text(const Json& value, int indent = -1);

}  // namespace gf
