def price_with_fee(amount, percent):
    return amount + amount * percent // 100


def cheapest(first, second):
    if first > second:
        return first
    return second


def total_price(prices):
    total = 0
    for price in prices:
        total += price
    return total
