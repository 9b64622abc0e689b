"""Tests of work in threads ahead of its consumer."""

import threading
import time

import pytest

from data_pipelines.map_ahead import map_ahead


def test_results_come_in_the_order_of_the_items():
    def wait(number):
        time.sleep(0.01 * (number % 3))
        return number * 2

    assert list(map_ahead(wait, range(20), 4)) == [2 * n for n in range(20)]


def test_few_items_are_taken_before_their_results_are_asked_for():
    taken = []

    def count():
        for number in range(1000):
            taken.append((number, threading.get_ident()))
            yield number

    results = map_ahead(lambda number: number, count(), 2)
    assert next(results) == 0
    assert len(taken) == 5
    results.close()
    assert {thread for _, thread in taken} == {threading.get_ident()}


def test_an_error_is_raised_in_its_place():
    results = map_ahead(lambda number: 1 // (number - 1), range(9), 2)
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_calls_that_wait_are_not_made_when_the_consumer_is_done():
    begun, may_go_on = [], threading.Event()

    def wait(number):
        begun.append(number)
        may_go_on.wait(5)

    results = map_ahead(wait, range(100), 1)
    threading.Timer(0.05, may_go_on.set).start()
    next(results)
    may_go_on.clear()
    threading.Timer(0.05, may_go_on.set).start()
    results.close()
    assert len(begun) <= 3
