def clamp_stock(value, low, high):
    if value < low:
        return low
    if value < high:
        return high
    return value


def count_cheap(prices, limit):
    count = 0
    for price in prices:
        if price < limit:
            count += 1
    return count
