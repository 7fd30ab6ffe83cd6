// The environment that GLPK keeps for each thread, and the way out of GLPK's errors. GLPK is under GPLv3.
#pragma once

#include <glpk.h>

#include <array>
#include <csetjmp>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace aura::glpk::detail {

/// GLPK's environment of this thread, from here to the end of the scope. Every GLPK object lives and dies within one, on
/// one thread, so nothing is left behind when the thread ends. It prints nothing.
///
/// A thread has one environment. Where somebody else has opened it, this one stays closed: what GLPK does after an error
/// would free their objects too.
class Environment {
 public:
  Environment() noexcept : open_(glp_init_env() == 0) {
    if (!open_) return;
    glp_term_out(GLP_OFF);
    glp_term_hook(&Environment::listen, this);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    if (open_) glp_free_env();
  }

  /// False after an error: every object of this environment is gone.
  bool is_open() const noexcept { return open_; }
  /// What GLPK said about its error.
  std::string_view heard() const noexcept { return {heard_.data(), length_}; }

  /// Calls `body()`; false where GLPK ran into an error meanwhile. Its error function does not return, it aborts the
  /// process: so its hook jumps back to here, and the environment with all that was in it is freed. The jump runs no
  /// destructor: whatever stands between this and a call of GLPK (body, and callbacks) has only locals that need none.
  template <class Body>
  bool run(Body body) {
    static_assert(std::is_trivially_destructible_v<Body>);
    if (!open_) return false;
    glp_error_hook(&Environment::jump, this);
    if (setjmp(escape_) != 0) {  // NOLINT: it is what GLPK leaves
      open_ = false;
      glp_free_env();
      return false;
    }
    body();
    glp_error_hook(nullptr, nullptr);
    return true;
  }

 private:
  static void jump(void* self) { std::longjmp(static_cast<Environment*>(self)->escape_, 1); }  // NOLINT

  /// Takes what GLPK would print; before it aborts it prints whatever it was told about printing.
  static int listen(void* self, const char* text) {
    Environment& here = *static_cast<Environment*>(self);
    for (; *text != '\0' && here.length_ < here.heard_.size(); ++text)
      here.heard_[here.length_++] = *text == '\n' ? ' ' : *text;
    return 1;
  }

  std::jmp_buf escape_{};
  std::array<char, 256> heard_{};
  std::size_t length_ = 0;
  bool open_;
};

}  // namespace aura::glpk::detail
