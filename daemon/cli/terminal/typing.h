// What is typed at the terminal while nothing is asked there: it answers no question that is asked
// later.
#pragma once

namespace lares::cli {

// What waits in the terminal `fd` to be read, lines and the beginning of one, is gone. In the
// background nothing is: there it is typed for another program.
void forget_typed(int fd);

}  // namespace lares::cli
