// A driver's library, opened at run time because most machines have none.
#pragma once

#include "base/result.hpp"

#include <string>
#include <vector>

namespace gf::cache {

/// An open shared object. Never closed: a driver's threads and thread-locals may outlive us. Threads: any.
class SharedObject {
 public:
  /// The first of the names that opens. Errors: not_found, with the linker's words about the first.
  static Result<SharedObject> open(const std::vector<std::string>& names);

  /// nullptr when there is no such symbol.
  void* symbol(const char* name) const noexcept;
  template <class Function>
  bool find(const char* name, Function*& into) const noexcept {
    into = reinterpret_cast<Function*>(symbol(name));
    return into != nullptr;
  }
  const std::string& name() const { return name_; }

  /// Looks several up, and remembers the first that there is not.
  class Lookup {
   public:
    explicit Lookup(const SharedObject& from) : from_(from) {}
    template <class Function>
    Lookup& operator()(const char* name, Function*& into) noexcept {
      if (!from_.find(name, into) && missing_ == nullptr) missing_ = name;
      return *this;
    }
    /// Errors: unsupported with the library and the name.
    Result<void> complete() const;

   private:
    const SharedObject& from_;
    const char* missing_ = nullptr;
  };

 private:
  SharedObject(std::string name, void* handle) : name_(std::move(name)), handle_(handle) {}
  std::string name_;
  void* handle_;
};

}  // namespace gf::cache
