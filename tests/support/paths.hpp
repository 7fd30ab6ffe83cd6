#pragma once

#include <string>

namespace aura::test {

/// A file of the repository: source_path("tests/durable/data/v1.db").
inline std::string source_path(const std::string& name) {
  return std::string{AURA_SOURCE_DIR} + "/" + name;
}

/// A helper process, tests/<folder>/programs/<name>.cpp, as it was built: program_path("sqlite", "holder").
inline std::string program_path(const std::string& folder, const std::string& name) {
  std::string path{AURA_BUILD_DIR};  // appended to: g++ 12 warns of operator+ on temporaries, wrongly
  return path.append("/tests/").append(folder).append("_").append(name);
}

} // namespace aura::test
