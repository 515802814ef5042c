// The namespace's network: loopback alone, and with allowed hosts a listener there that the daemon
// answers.
#pragma once

namespace lares::sandbox::launcher {

void loopback_up();
// Listens on 127.0.0.1:kProxyPort and sends the socket over the control socket: it stays in this
// namespace, whoever accepts from it.
void hand_out_listener();

}  // namespace lares::sandbox::launcher
