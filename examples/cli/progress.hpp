// A progress line on standard error, where that is a terminal; else nothing.
#pragma once

#include <gameforge/gameforge.h>

#include <string>

namespace command {

class Progress {
 public:
  Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  void show(const gf_event& event);
  /// Any line.
  void say(std::string line);
  void clear();

 private:
  bool terminal_;
  std::string shown_;  // As it stands on the terminal.
};

}  // namespace command
