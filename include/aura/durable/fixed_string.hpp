// A string literal as a template argument: step<"reserve">.
#pragma once

#include <cstddef>
#include <string_view>

namespace aura {

template <std::size_t N>
struct fixed_string {
  char text[N]{};

  consteval fixed_string(const char (&literal)[N]) {  // NOLINT: a literal is one
    for (std::size_t i = 0; i < N; ++i) text[i] = literal[i];
  }
  constexpr std::string_view view() const noexcept { return {text, N - 1}; }
};

template <fixed_string... Names>
struct step_names {
  static constexpr std::size_t size = sizeof...(Names);
};

}  // namespace aura
