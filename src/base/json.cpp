#include "base/json.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace gf {
namespace {

/// Frees what `value` holds from the leaves up. nlohmann's destructor moves the children of a container that has any
/// into a vector; of an empty one it does not. Recursion is as deep as the parser let the document be.
void take_apart(Json& value) noexcept {
  if (auto* array = value.get_ptr<Json::array_t*>()) {
    for (auto& entry : *array) take_apart(entry);
    array->clear();
  } else if (auto* object = value.get_ptr<Json::object_t*>()) {
    for (auto& [name, entry] : *object) take_apart(entry);
    object->clear();
  }
}

/// Builds the document from the parser's events. nlohmann's own builder keeps the last of two equal keys quietly, and
/// two readers that pick different ones are how a checked file becomes another file.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}
  ~Builder() override { take_apart(root); }
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  Json root;
  std::string problem;

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    auto [place, fresh] = stack_.back()->get_ref<Json::object_t&>().try_emplace(std::move(name));
    if (!fresh) {
      problem = fmt::format("the key {} is there twice", shown(place->first));
      return false;
    }
    slot_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    problem = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." - what follows the bracket is for people.
    if (const auto end = problem.find("] "); end != std::string::npos) problem.erase(0, end + 2);
    return false;
  }

 private:
  template <class Value>
  bool put(Value&& value) {
    return place(Json(std::forward<Value>(value))) != nullptr;
  }

  Json* place(Json value) {
    if (++values_ > limits_.values) {
      problem = fmt::format("there are more than {} values", limits_.values);
      return nullptr;
    }
    if (stack_.empty()) {
      root = std::move(value);
      return &root;
    }
    if (stack_.back()->is_array()) {
      auto& array = stack_.back()->get_ref<Json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool open(Json container) {
    if (stack_.size() >= limits_.depth) {
      problem = fmt::format("it is nested deeper than {} levels", limits_.depth);
      return false;
    }
    auto* placed = place(std::move(container));
    if (placed == nullptr) return false;
    stack_.push_back(placed);
    return true;
  }

  bool close() {
    stack_.pop_back();
    return true;
  }

  JsonLimits limits_;
  std::size_t values_ = 0;
  std::vector<Json*> stack_;  // Open containers; an array grows only while it is the innermost, so these stay valid.
  Json* slot_ = nullptr;      // Where the value of the last key goes.
};

}  // namespace

JsonDocument::~JsonDocument() { take_apart(root_); }

JsonDocument& JsonDocument::operator=(JsonDocument&& other) noexcept {
  std::swap(root_, other.root_);
  return *this;
}

Result<JsonDocument> parse_json(std::string_view text, std::string_view name, const JsonLimits& limits) {
  // nlohmann's scanner takes a NUL for the end, so that whatever stands behind it would pass unread.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    return Error{Status::corrupt_file, fmt::format("{}: there is a NUL byte at {}", name, nul), {}};
  }
  Builder builder(limits);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return Error{Status::corrupt_file, fmt::format("{}: {}", name, builder.problem), {}};
  }
  return JsonDocument(std::exchange(builder.root, nullptr));
}

std::string to_text(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace gf
