// Answers that were given up and drawn again, as a session tells of them.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace lares::daemon {

// Why, in a note; a recording tells by them how often.
inline constexpr std::string_view
    kRedrawnEmpty = "the answer was empty; drawn again",
    kRedrawnEdit = "the answer made an edit that was taken back before; drawn again",
    kRedrawnSame = "the answer made an edit that changes nothing; drawn again",
    kRedrawnBroken = "the answer made an edit that brings syntax errors; drawn again",
    kRedrawnCircles = "the answer went in circles twice; drawn again from its beginning";

constexpr bool tells_of_redrawing(std::string_view note) {
  constexpr std::array all{kRedrawnEmpty, kRedrawnEdit, kRedrawnSame, kRedrawnBroken,
                           kRedrawnCircles};
  return std::ranges::find(all, note) != all.end();
}

// Of an answer that was given up for its edit: the next one departs from it at the likeliest place.
// Any other begins anew.
constexpr bool for_its_edit(std::string_view why) {
  return why == kRedrawnEdit || why == kRedrawnSame || why == kRedrawnBroken;
}

// What becomes of such an answer's calls: their output begins so, and a note follows.
inline constexpr std::string_view kCutOff = "This call was cut off: ";

}  // namespace lares::daemon
