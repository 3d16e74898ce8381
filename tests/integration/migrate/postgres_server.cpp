// gameforge_postgres_server: the tests' PostgreSQL for those that are not C++. Prints the URL of a fresh database for
// each line of standard input, and ends, with the server, where that ends. "SKIP: reason" where there is no server.
#include "support.hpp"

#include <cstdio>
#include <iostream>
#include <string>

int main() {
  auto& server = gf::test::PostgresServer::instance();
  if (!server.available()) {
    std::printf("SKIP: %s\n", server.why_not().c_str());
    return 77;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::printf("%s\n", server.make_database().c_str());
    (void)std::fflush(stdout);
  }
  return 0;
}
