// make_fake_model FOLDER NAME SETTINGS: for the hosts in C, which are started by scripts.
#include "support.hpp"

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    gf::test::make_fake_model(argv[1], argv[2], argv[3]);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
  return 0;
}
