"""A signal is known by its number, whatever happens to the exception on its way."""

from __future__ import annotations

import signal

import pytest

from toomuchtv._internal.interrupts import Interrupted, raise_on_signals


def meet(number: signal.Signals) -> None:
    """Receive a signal, and put another exception in place of ours, as extension modules do."""
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_plain_keyboard_interrupt_in_place_of_ours_keeps_the_number(
    number: signal.Signals,
) -> None:
    with pytest.raises(Interrupted) as caught, raise_on_signals():
        meet(number)
    assert caught.value.exit_code == 128 + number


def test_a_keyboard_interrupt_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, raise_on_signals():
        raise KeyboardInterrupt
    assert type(caught.value) is KeyboardInterrupt
